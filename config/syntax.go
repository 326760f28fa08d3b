package config

import (
	"bytes"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// syntaxProblem says in a person's words what the YAML parser did not like, and in
// which line.
func syntaxProblem(data []byte, err error) Problem {
	line, text := brokenLine(data)
	return Problem{line: line, Message: explain(text, parserPrefix.ReplaceAllString(err.Error(), ""))}
}

var parserPrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)

// brokenLine is the line after the longest beginning of the file that is good
// YAML. The parser's own number is often that of the block around it, or none.
func brokenLine(data []byte) (number int, text string) {
	lines := bytes.SplitAfter(data, []byte("\n"))
	const most = 1000 // lines: many beginnings are parsed
	if len(lines) > most {
		return 0, ""
	}
	good, end := len(lines), len(data)
	for good > 0 && !parses(data[:end]) {
		good--
		end -= len(lines[good])
	}
	for n, line := range lines[good:] {
		if s := strings.TrimSpace(string(line)); s != "" && s[0] != '#' {
			return good + n + 1, strings.TrimRight(string(line), "\r\n")
		}
	}
	return 0, ""
}

func parses(data []byte) bool {
	var n yaml.Node
	return yaml.Unmarshal(data, &n) == nil
}

// explain says what to type instead. The line itself is not repeated: it may hold
// a secret.
func explain(line, said string) string {
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	is := func(text string) bool { return strings.Contains(said, text) }
	switch {
	case strings.Contains(indent, "\t"):
		return "is indented with a tab; YAML needs spaces"
	case is("cannot start any token"):
		return "a value that begins with @, `, % or a tab must be in quotes"
	case is("alphabetic or numeric"), is("unknown anchor"):
		return `a value that begins with * or & must be in quotes: "*"`
	case is("',' or '}'"), is("',' or ']'"), is("node content"):
		if strings.Contains(line, "${") || strings.Contains(line, "{event}") {
			return "a value with braces must be in quotes within { } and [ ]"
		}
		return "a bracket or brace is not closed or not opened, or a comma is missing"
	case is("unexpected end of stream"):
		return "a quote that begins here is not closed"
	case is("mapping values are not allowed"):
		return "a value that contains a colon and a space must be in quotes; or the line is indented too far"
	case is("expected ':'"):
		return "want a key, a colon, a space and a value"
	case is("unknown escape"):
		return `a \ begins an escape within "…"; use '…' instead`
	case is("expected key") && strings.ContainsAny(line, `'"`):
		return `text follows after a closing quote; within '…' a ' is written ''`
	case is("expected key"), is("'-' indicator"), is("sequence entries"), is("violates indentation"):
		return "the line is not indented like those it belongs to"
	}
	return said
}
