package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"
)

// maxFile limits the configuration file: one that is larger is not ours.
const maxFile = 1 << 20

// readFile reads a configuration file: the values of each setting, by its name.
func readFile(path string) (map[string]given, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("--config: %s is larger than %d bytes", path, maxFile)
	}
	return parseFile(path, data)
}

// parseFile reads YAML: one mapping from setting names to scalars, or to
// sequences of scalars where the setting is a list. Scalars are kept as they
// are written and parsed as flags are, so that a value means the same in both
// places. The YAML tree itself is walked, because decoding into a map would
// lose line numbers.
func parseFile(path string, data []byte) (map[string]given, error) {
	fail := func(line int, format string, args ...any) (map[string]given, error) {
		return nil, fmt.Errorf("--config: %s line %d: %s", path, line, fmt.Sprintf(format, args...))
	}
	var doc, more yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF): // nothing but comments
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("--config: %s: %w", path, err)
	}
	switch err := decoder.Decode(&more); {
	case err == nil:
		return fail(more.Line, "there is more than one YAML document")
	case !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("--config: %s: %w", path, err)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return fail(root.Line, "this is not a list of lines such as 'bind-port: 4000'")
	}
	values := make(map[string]given)
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		s, known := find(key.Value)
		if !known || s.name == "config" {
			return fail(key.Line, "unknown key %q", key.Value)
		}
		if _, twice := values[s.name]; twice {
			return fail(key.Line, "%s is given twice", s.name)
		}
		scalars, ok := scalarsOf(value, s.list)
		if !ok {
			return fail(value.Line, "%s is not %s", s.name, wanted(s.list))
		}
		values[s.name] = given{values: scalars, from: fmt.Sprintf("%s line %d", path, value.Line)}
	}
	return values, nil
}

// scalarsOf returns the scalar that n is or, where a list may stand, those it
// holds. A null is refused: it is more likely forgotten than meant.
func scalarsOf(n *yaml.Node, list bool) ([]string, bool) {
	nodes := []*yaml.Node{n}
	if list && n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	var out []string
	for _, n := range nodes {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return nil, false
		}
		out = append(out, n.Value)
	}
	return out, true
}

func wanted(list bool) string {
	if list {
		return "a value or a list of values"
	}
	return "one value"
}
