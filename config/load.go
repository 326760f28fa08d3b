package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	// Path is the key, like "websocket.pong_timeout" or "trusted_proxies[1]"; ""
	// for the file as a whole.
	Path string
	// Message says what is wrong.
	Message string
}

// Problems are all that was found, in the order of the file.
type Problems []Problem

// Error is one line for each problem, "path.in.yaml: what is wrong".
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Message
		if one.Path != "" {
			lines[i] = one.Path + ": " + one.Message
		}
	}
	return strings.Join(lines, "\n")
}

func (p *Problems) add(path, format string, args ...any) {
	*p = append(*p, Problem{path, fmt.Sprintf(format, args...)})
}

// Env looks up an environment variable, like os.LookupEnv.
type Env func(name string) (value string, ok bool)

// Load reads and validates a file. All that is wrong comes as one Problems error;
// a file that cannot be read is another error.
func Load(path string, env Env) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read config: %w", err)
	}
	return Parse(data, env)
}

// Parse is Load for what was read already. Files that the configuration names
// (secrets) are read. The overrides are applied before anything is judged.
func Parse(data []byte, env Env, overrides ...func(*Config)) (Config, error) {
	c := Default()
	var problems Problems
	data = expand(data, env, &problems)
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(data))
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF): // an empty file is all defaults
	case err != nil:
		problems.add("", "%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return Config{}, problems
	default:
		if err := d.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
			problems.add("", "more than one YAML document")
		}
		decodeInto(doc.Content[0], &c, &problems)
	}
	for _, f := range overrides {
		f(&c)
	}
	c.readSecretFiles(&problems)
	c.check(&problems)
	if len(problems) > 0 {
		return Config{}, problems
	}
	return c, nil
}

// Validate checks a configuration that was made in code. Its error is Problems.
func (c *Config) Validate() error {
	var problems Problems
	c.readSecretFiles(&problems)
	c.check(&problems)
	if len(problems) > 0 {
		return problems
	}
	return nil
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}`)

// expand replaces ${NAME} and ${NAME:-default}, except in comments.
func expand(data []byte, env Env, problems *Problems) []byte {
	var out bytes.Buffer
	for line := range bytes.Lines(data) {
		if bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("#")) {
			out.Write(line)
			continue
		}
		out.Write(variable.ReplaceAllFunc(line, func(match []byte) []byte {
			m := variable.FindSubmatch(match)
			if v, ok := env(string(m[1])); ok {
				return []byte(v)
			}
			if m[2] == nil {
				problems.add("", "environment variable %s is not set and has no default", m[1])
			}
			return m[3]
		}))
	}
	return out.Bytes()
}

// readSecretFiles fills secrets from their …_file twins.
func (c *Config) readSecretFiles(problems *Problems) {
	one := func(path string, value *Secret, file string) {
		if file == "" {
			return
		}
		if *value != "" {
			problems.add(path+"_file", "set together with %s", path)
			return
		}
		if b, err := os.ReadFile(file); err != nil {
			problems.add(path+"_file", "%v", err)
		} else {
			*value = Secret(strings.TrimRight(string(b), "\r\n"))
		}
	}
	list := func(path string, values *[]Secret, file string) {
		var text Secret
		one(path, &text, file)
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" {
				*values = append(*values, Secret(line))
			}
		}
	}
	one("auth.jwt.secret", &c.Auth.JWT.Secret, c.Auth.JWT.SecretFile)
	one("redis.password", &c.Redis.Password, c.Redis.PasswordFile)
	list("push.tokens", &c.Push.Tokens, c.Push.TokensFile)
	list("admin.tokens", &c.Admin.Tokens, c.Admin.TokensFile)
	list("webhook.secrets", &c.Webhook.Secrets, c.Webhook.SecretsFile)
	// What was read is in its place; a second Validate must not read it again.
	c.Auth.JWT.SecretFile, c.Redis.PasswordFile = "", ""
	c.Push.TokensFile, c.Admin.TokensFile, c.Webhook.SecretsFile = "", "", ""
}
