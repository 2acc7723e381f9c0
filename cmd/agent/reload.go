package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"doyen/agent"
	"doyen/api"
)

// reloadOnSignal calls reload for every SIGHUP until the returned function is
// called.
func reloadOnSignal(reload func()) func() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		for range signals {
			reload()
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
	}
}

// reloader takes over what may change while the agent runs: the log level, what
// the files hold that it names, elections, addresses, hooks and health checks. Everything else stays as it was at the
// start.
type reloader struct {
	values  flagValues
	started *options // what the agent was started with
	agent   *agent.Agent
	server  *api.Server
	cert    *certificate // nil: no HTTPS
	level   *slog.LevelVar
	log     *slog.Logger
}

// reload reads everything again. Of a configuration that is bad anywhere nothing
// counts. A file that it names and that cannot be read leaves what it held before,
// and does not keep the rest from being read.
func (r *reloader) reload() {
	o, err := load(r.values, os.Getenv)
	if info, failed := os.Stat(o.configFile); failed == nil && info.Size() == 0 {
		err = errors.Join(err, fmt.Errorf("--config: %s is empty, as while it is being written", o.configFile))
	}
	_, programs := o.checkPrograms()
	if err = errors.Join(err, programs); err != nil {
		err = errors.Join(err, o.Config.CheckHost())
	} else {
		err = r.takeSettings(&o)
	}
	if err != nil {
		r.log.Error("the configuration is bad, so that nothing of it counts: all settings stay as they were", "error", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	r.level.Set(o.logLevel)
	read := []string{"the log level"}
	for _, part := range []struct {
		what string
		file string
		take func() error
	}{
		{"the keyring", r.started.EncryptKeyFile, r.agent.Rekey},
		{"the token", o.tokenFile, func() error { return r.takeToken(&o) }},
		{"the certificate", r.started.tlsCertFile, func() error { return r.takeCertificate(&o) }},
	} {
		if err := part.take(); err != nil {
			r.log.Error(part.what+" was not read again and stays as it was", "error", err)
		} else if part.file != "" {
			read = append(read, part.what)
		}
	}
	r.log.Info("read "+strings.Join(read, ", ")+" again", "level", o.logLevel.String())
}

// reloadLimit is how long the agent may take to take its settings over.
const reloadLimit = 10 * time.Second

// takeSettings has the agent take over what may change, which it logs by election,
// and names what has changed and may not.
func (r *reloader) takeSettings(o *options) error {
	ctx, cancel := context.WithTimeout(context.Background(), reloadLimit)
	defer cancel()
	later, err := r.agent.Reload(ctx, o.Config)
	if err != nil {
		return err
	}
	if (o.tlsCertFile == "") != (r.cert == nil) {
		later = append(later, "tls-cert-file")
	}
	if o.logFormat != r.started.logFormat {
		later = append(later, "log-format")
	}
	if len(later) > 0 {
		r.log.Warn("changed settings that count only from the next start on", "settings", strings.Join(later, ", "))
	}
	return nil
}

func (r *reloader) takeToken(o *options) error {
	token, err := readToken(o.tokenFile)
	if err != nil {
		return err
	}
	r.server.SetToken(token)
	return nil
}

func (r *reloader) takeCertificate(o *options) error {
	if r.cert == nil || o.tlsCertFile == "" && o.tlsKeyFile == "" {
		return nil
	}
	if err := r.cert.read(o); err != nil {
		return err
	}
	r.cert.tell(r.log)
	return nil
}
