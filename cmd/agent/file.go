package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

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
	fault := func(line int, format string, args ...any) error {
		return fmt.Errorf("--config: %s line %d: %s", path, line, fmt.Sprintf(format, args...))
	}
	fail := func(line int, format string, args ...any) (map[string]given, error) {
		return nil, fault(line, format, args...)
	}
	var doc, more yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF): // nothing but comments
		return nil, nil
	case err != nil:
		return nil, notYAML(path, err)
	}
	switch err := decoder.Decode(&more); {
	case err == nil:
		return fail(more.Line, "there is more than one YAML document")
	case !errors.Is(err, io.EOF):
		return nil, notYAML(path, err)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return fail(root.Line, "this is not a list of lines such as 'bind-port: 4000'")
	}
	values := make(map[string]given)
	var faults []error
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		s, known := find(key.Value)
		if s.name == "config" {
			faults = append(faults, fault(key.Line, "config cannot stand in the file: it names the file, on the command line or in %s", s.env()))
			continue
		}
		if command := clientCommandWith(key.Value); !known && command != "" {
			faults = append(faults, fault(key.Line, "%s cannot stand in the file: it is a flag of client commands, such as 'agent %s'", key.Value, command))
			continue
		}
		if !known {
			faults = append(faults, fault(key.Line, "unknown key %q%s", key.Value, didYouMean(key.Value, settingNames())))
			continue
		}
		if _, twice := values[s.name]; twice {
			faults = append(faults, fault(key.Line, "%s is given twice", s.name))
			continue
		}
		from := fmt.Sprintf("%s line %d", path, value.Line)
		if s.name == "elections" && value.Kind == yaml.MappingNode {
			names, own, err := electionMap(value, fault)
			faults = append(faults, err)
			values[s.name] = given{values: names, own: own, from: from}
			continue
		}
		scalars, err := s.valuesOf(value)
		if err != nil {
			faults = append(faults, fault(value.Line, "%v", err))
		}
		values[s.name] = given{values: scalars, from: from}
	}
	return values, errors.Join(faults...)
}

// notYAML puts the parser's error into the form of the others.
func notYAML(path string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		line, why, _ := strings.Cut(rest, ": ")
		return fmt.Errorf("--config: %s line %s: this is not YAML: %s", path, line, why)
	}
	return fmt.Errorf("--config: %s is not YAML: %s", path, text)
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

// wanted is what may stand for the setting in the file.
func (s setting) wanted() string {
	switch {
	case s.argv:
		return "a list such as [COMMAND, ARG]"
	case s.list:
		return "a value or a list of values"
	}
	return "one value"
}
