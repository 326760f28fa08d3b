package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testdocs"
)

// TestDocs_ConfigurationsPassCheck: each configuration on a page is good, be it whole or
// a part, in a block or within a line.
func TestDocs_ConfigurationsPassCheck(t *testing.T) {
	t.Setenv("WEBHOOK_SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	t.Setenv("JWT_SECRET", strings.Repeat("x", 32))
	t.Setenv("PASSWORD", "x")
	t.Setenv("PORT", "3000")
	pages := testdocs.Pages(t)
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{
		"webhook-secret": os.Getenv("WEBHOOK_SECRET"), "jwt-secret": os.Getenv("JWT_SECRET"), "push-tokens": "x\ny\n", "redis-password": "x", "sentinel-password": "x",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	blocks, spans := 0, 0
	for _, page := range pages {
		if page.Name == "CHANGELOG.md" {
			continue // it tells of other versions, and of what is refused
		}
		for _, b := range page.Blocks {
			if b.Language == "yaml" && b.Unused() == "" {
				blocks++
				checkPart(t, b.Where(), b.Text)
			}
		}
		for _, span := range page.Code() {
			if configures(span.Text) {
				spans++
				checkPart(t, fmt.Sprintf("%s:%d", page.Name, span.Line), span.Text)
			}
		}
	}
	if blocks < 10 || spans < 20 {
		t.Errorf("only %d blocks and %d lines found", blocks, spans)
	}
}

// sections are the top-level keys of the configuration.
func sections() (all []string) {
	for _, e := range config.Entries(config.Default()) {
		section, _, _ := strings.Cut(e.Key, ".")
		all = append(all, section)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// configures says whether code within a line is a piece of configuration: section:
// value, or section.key: value.
func configures(text string) bool {
	key, value, ok := strings.Cut(text, ": ")
	section, _, _ := strings.Cut(key, ".")
	return ok && slices.Contains(sections(), section) && !strings.ContainsAny(value, "…") && regexp.MustCompile(`^[a-z_.]+$`).MatchString(key)
}

// checkPart runs pushcart check on a piece of configuration, with what else is required.
func checkPart(t *testing.T, where, text string) {
	t.Helper()
	part := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &part); err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	nest(part)
	complete(part, "backend", map[string]any{"url": "http://127.0.0.1:3000"})
	if _, ok := part["push"].(map[string]any); ok {
		complete(part, "push", map[string]any{"tokens": []string{"a-token-for-the-push-api"}})
	}
	if auth, ok := part["auth"].(map[string]any); ok && auth["forward"] != nil {
		complete(auth, "forward", map[string]any{"url": "/me", "user": "/user/id"})
	}
	if hooks, ok := part["webhook"].(map[string]any); ok || strings.Contains(text, ": webhook") {
		complete(part, "webhook", map[string]any{"url": "/hooks/push", "events": []string{"*"}})
		if hooks["secrets"] == nil && hooks["secrets_file"] == nil && hooks["unsigned"] == nil {
			complete(part, "webhook", map[string]any{"secrets": []string{"${WEBHOOK_SECRET}"}})
		}
	}
	whole, err := yaml.Marshal(part)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("part.yaml", whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, problems := run(t, "check", "part.yaml"); code != 0 {
		t.Errorf("%s:\n%s\n%s", where, text, problems)
	}
}

// nest makes {a.b: c} of prose {a: {b: c}}.
func nest(part map[string]any) {
	for key, value := range part {
		if i := strings.LastIndex(key, "."); i > 0 {
			delete(part, key)
			part[key[:i]] = map[string]any{key[i+1:]: value}
			nest(part)
			return
		}
	}
}

// complete puts defaults into a section where it has no value of its own.
func complete(part map[string]any, section string, defaults map[string]any) {
	given, _ := part[section].(map[string]any)
	if given == nil {
		given = map[string]any{}
	}
	for key, value := range defaults {
		if _, ok := given[key]; !ok {
			given[key] = value
		}
	}
	part[section] = given
}

// TestDocs_KeysExist: what looks like a key of the configuration is one, or a section.
func TestDocs_KeysExist(t *testing.T) {
	keys := map[string]bool{}
	for _, e := range config.Entries(config.Default()) {
		for key := e.Key; key != ""; key = key[:max(0, strings.LastIndex(key, "."))] {
			keys[key] = true
		}
	}
	named := 0
	dotted := regexp.MustCompile(`^([a-z_]+(\[\])?)(\.[a-z_]+(\[\])?)+$`)
	for _, page := range testdocs.Pages(t) {
		for _, span := range page.Code() {
			text, _, _ := strings.Cut(span.Text, ": ")
			section, _, _ := strings.Cut(text, ".")
			if !dotted.MatchString(text) || !slices.Contains(sections(), strings.TrimSuffix(section, "[]")) {
				continue
			}
			named++
			if key := strings.ReplaceAll(text, "[]", ""); !keys[key] && !strings.Contains(text, "[]") {
				t.Errorf("%s:%d: %s is not a key", page.Name, span.Line, span.Text)
			}
		}
	}
	if named < 100 {
		t.Errorf("only %d keys found", named)
	}
}
