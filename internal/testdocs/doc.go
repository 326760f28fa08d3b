// Package testdocs reads the pages of the repository for tests: blocks of code, code
// within lines, links, headings and tables. CONTRIBUTING.md says what the words
// behind the opening fence of a block mean. Nothing but tests imports it.
package testdocs
