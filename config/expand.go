package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Env looks up an environment variable, like os.LookupEnv.
type Env func(name string) (value string, ok bool)

// variable is what may follow "${".
var variable = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}`)

// expand replaces ${NAME} and ${NAME:-default} in one parsed value; "$${" is a
// literal "${". As in a shell, the default also stands in for an empty variable.
// What comes from the environment is taken as it is.
func expand(value string, env Env) (string, error) {
	var out strings.Builder
	for {
		i := strings.Index(value, "${")
		if i < 0 {
			out.WriteString(value)
			return out.String(), nil
		}
		literal := i > 0 && value[i-1] == '$'
		out.WriteString(strings.TrimSuffix(value[:i], "$"))
		value = value[i+2:]
		if literal {
			out.WriteString("${")
			continue
		}
		m := variable.FindStringSubmatch(value)
		if m == nil || strings.Contains(m[3], "${") {
			return "", errors.New("want ${NAME} or ${NAME:-default}; a literal ${ is written $${")
		}
		v, ok := env(m[1])
		switch {
		case (!ok || v == "") && m[2] != "":
			v = m[3]
		case !ok:
			return "", fmt.Errorf("environment variable %s is not set; set it, or give a default: ${%[1]s:-…}", m[1])
		}
		out.WriteString(v)
		value = value[len(m[0]):]
	}
}
