package gossip

import (
	"context"
	"errors"
)

// Identity is the name, and the advertised host:port, of a member with this
// configuration. It is for who cleans up after one, so it binds nothing and
// looks up no more than it must; under a given name the address may be "".
func Identity(ctx context.Context, c Config) (name, addr string, err error) {
	if c, err = c.filled(); err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	addr, port, err := advertisedText(ctx, &c)
	switch {
	case c.Name != "" && (err != nil || port == 0):
		return c.Name, "", nil
	case err != nil:
		return "", "", err
	case c.Name != "":
		return c.Name, addr, nil
	case port == 0:
		return "", "", errors.New("with bind-port 0 only the agent itself knows its port, and so its name; give it one with --name")
	}
	return addr, addr, nil
}

// advertisedText is the advertised host:port as text; the port is 0 while
// none has been picked.
func advertisedText(ctx context.Context, c *Config) (string, uint16, error) {
	port := uint16(c.BindPort)
	if c.Advertise != "" {
		text, _, p, err := givenAddr(c, port)
		return text, p, err
	}
	bound, err := bindTo(ctx, c)
	if err != nil {
		return "", 0, err
	}
	a, err := resolveAdvertise(ctx, c, bound, port)
	return a.text, port, err
}
