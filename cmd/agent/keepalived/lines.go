package keepalived

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

const (
	// maxDepth bounds includes within includes, which may be a circle.
	maxDepth = 16
	// maxLines bounds what includes and definitions may grow to; the largest
	// published configurations have some thousands.
	maxLines = 100_000
)

// line is one directive, with the block that it opens.
type line struct {
	file  string
	num   int
	end   int      // the number of the line that closes its block
	words []string // at least one
	block bool
	body  []*line
	used  bool // it is carried over, or a note names it
	read  int  // how many words after the keyword are carried over
	named bool // a note names it
	parts []*line
}

func (l *line) key() string { return l.words[0] }

// value is what follows the keyword, "" if nothing does.
func (l *line) value() string {
	l.read = len(l.words) - 1
	return strings.Join(l.words[1:], " ")
}

// arg is the first word after the keyword.
func (l *line) arg() string {
	if len(l.words) < 2 {
		return ""
	}
	l.read = max(l.read, 1)
	return l.words[1]
}

// split makes one line of each item of a line that lists some. An item is a word and
// its options; begins says of a word after the first whether it is the next item, and
// not an option of the one before.
func (l *line) split(begins func(before, w string) bool) []*line {
	l.used, l.read = true, len(l.words)-1
	for k, w := range l.words {
		if k == 0 || begins(l.words[k-1], w) {
			l.parts = append(l.parts, &line{file: l.file, num: l.num})
		}
		part := l.parts[len(l.parts)-1]
		part.words, part.used = append(part.words, w), true
	}
	return l.parts
}

// tree reads files into lines.
type tree struct {
	files  fs.FS
	id     string // of the configuration, for lines that begin with @
	values map[string]string
	notes  *notes
	open   []*line // the blocks around the line that is read
	root   *line
	read   int
	top    string // what stands before the names of files
}

// readTree reads a file and what it includes.
func readTree(files fs.FS, name string, o *Options, n *notes) (*line, error) {
	t := &tree{files: files, id: o.ConfigID, top: o.Root, values: map[string]string{}, notes: n, root: &line{block: true, used: true}}
	t.open = []*line{t.root}
	if err := t.file(name, 0); err != nil {
		return nil, err
	}
	if n := len(t.open); n > 1 {
		return nil, fmt.Errorf("%s line %d: the block of %s is not closed", t.top+t.open[n-1].file, t.open[n-1].num, t.open[n-1].key())
	}
	return t.root, nil
}

func (t *tree) file(name string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: files include one another more than %d deep", t.top+name, maxDepth)
	}
	data, err := fs.ReadFile(t.files, name)
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		err = at.Err
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", t.top+name, err)
	}
	text := strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	for i := 0; i < len(text); i++ {
		num := i + 1
		source := text[i]
		for strings.HasSuffix(source, `\`) && i+1 < len(text) {
			i++
			source = strings.TrimSuffix(source, `\`) + "\n" + text[i]
		}
		if err := t.source(name, num, source, depth); err != nil {
			return err
		}
	}
	return nil
}

var (
	definition = regexp.MustCompile(`^\s*\$([A-Za-z_][A-Za-z0-9_]*)=(?s:(.*))$`)
	reference  = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)`)
	condition  = regexp.MustCompile(`^\s*@(\^?)([^\s]+)(\s.*|)$`)
)

// source takes one line, or several that end with a backslash. A definition keeps
// them apart, anything else joins them.
func (t *tree) source(name string, num int, source string, depth int) error {
	if m := definition.FindStringSubmatch(source); m != nil {
		t.values[m[1]] = strings.Trim(strings.TrimSpace(m[2]), `"`)
		return nil
	}
	expanded := t.expand(source, 0)
	if !strings.Contains(source, "\n") && strings.Contains(expanded, "\n") {
		for part := range strings.Lines(expanded) {
			if err := t.source(name, num, strings.TrimRight(part, "\n"), depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	source = strings.ReplaceAll(expanded, "\n", " ")
	if m := condition.FindStringSubmatch(source); m != nil {
		if t.id == "" {
			t.notes.add(&line{file: name, num: num, words: words(source)}, "it is for the host of that name: give --config-id to have its lines")
			return nil
		}
		if (m[2] == t.id) == (m[1] == "^") {
			return nil
		}
		source = m[3]
	}
	return t.tokens(name, num, words(source), depth)
}

// expand puts in what has been defined. What has not stays as it is.
func (t *tree) expand(s string, depth int) string {
	if depth > maxDepth {
		return s
	}
	return reference.ReplaceAllStringFunc(s, func(ref string) string {
		v, ok := t.values[strings.Trim(ref, "${}")]
		if !ok {
			return ref
		}
		return t.expand(v, depth+1)
	})
}

// tokens puts the words of one line where they belong. A brace opens the block of
// the words before it, or of the line before.
func (t *tree) tokens(name string, num int, list []string, depth int) error {
	if t.read++; t.read > maxLines {
		return fmt.Errorf("%s line %d: there are more than %d lines", t.top+name, num, maxLines)
	}
	var l *line
	for _, w := range list {
		in := t.open[len(t.open)-1]
		switch {
		case w == "{":
			if l == nil {
				if n := len(in.body); n > 0 && !in.body[n-1].block {
					l = in.body[n-1]
				} else {
					return fmt.Errorf("%s line %d: this { opens no block", t.top+name, num)
				}
			}
			l.block = true
			t.open, l = append(t.open, l), nil
		case w == "}":
			if len(t.open) == 1 {
				return fmt.Errorf("%s line %d: this } closes no block", t.top+name, num)
			}
			in.end = num
			t.open, l = t.open[:len(t.open)-1], nil
		case l == nil:
			l = &line{file: name, num: num, words: []string{unquote(w)}}
			in.body = append(in.body, l)
		default:
			l.words = append(l.words, unquote(w))
		}
	}
	if l != nil && !l.block && strings.HasPrefix(l.key(), "include") && len(l.words) == 2 {
		return t.include(l, depth)
	}
	return nil
}

// include reads the files that a pattern matches, relative to the file with it.
func (t *tree) include(l *line, depth int) error {
	in := t.open[len(t.open)-1]
	in.body = in.body[:len(in.body)-1]
	pattern := l.arg()
	if path.IsAbs(pattern) {
		pattern = strings.TrimPrefix(path.Clean(pattern), "/")
	} else {
		pattern = path.Join(path.Dir(l.file), pattern)
	}
	names, err := fs.Glob(t.files, pattern)
	if err != nil {
		return fmt.Errorf("%s line %d: include %s: %w", t.top+l.file, l.num, l.arg(), err)
	}
	if len(names) == 0 {
		t.notes.add(l, "there is no such file")
	}
	for _, name := range names {
		if err := t.file(name, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// words splits a line. A comment begins with # or !, a brace is a word of its own,
// and a text in quotes is part of one, which keeps its quotes.
func words(s string) []string {
	var list []string
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			list = append(list, word.String())
			word.Reset()
		}
	}
	quoted, reference := false, false
	for i, r := range s {
		switch {
		case r == '"':
			quoted = !quoted
			word.WriteRune(r)
		case quoted:
			word.WriteRune(r)
		case r == '{' && i > 0 && s[i-1] == '$', r == '}' && reference:
			reference = r == '{'
			word.WriteRune(r)
		case r == '#' || r == '!':
			flush()
			return list
		case r == ' ' || r == '\t':
			flush()
		case r == '{' || r == '}':
			flush()
			list = append(list, string(r))
		default:
			word.WriteRune(r)
		}
	}
	flush()
	return list
}

func unquote(w string) string { return strings.ReplaceAll(w, `"`, "") }
