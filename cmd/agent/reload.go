package main

import (
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

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

// reloader takes over what may change while the agent runs: the log level and
// what the files hold that it names. Everything else stays as it was at the
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

// reload reads everything again. What cannot be read stays as it is, and does
// not keep the rest from being read.
func (r *reloader) reload() {
	o, err := load(r.values, os.Getenv)
	if err != nil {
		r.log.Error("the configuration was not read again", "error", err)
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
	if o.EncryptKeyFile != r.started.EncryptKeyFile {
		r.log.Warn("another --encrypt-key-file counts only from the next start on", "file", o.EncryptKeyFile)
	}
	if (o.tlsCertFile == "") != (r.cert == nil) {
		r.log.Warn("whether there is a --tls-cert-file counts only from the next start on", "file", o.tlsCertFile)
	}
	r.log.Info("read "+strings.Join(read, ", ")+" again", "level", o.logLevel.String())
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
