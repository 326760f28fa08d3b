package json

import (
	"bytes"
	"os"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemas are the parts of schema.json for what goes each way.
type schemas struct{ client, server, resume *jsonschema.Schema }

var loadSchemas = sync.OnceValues(func() (s schemas, err error) {
	const name = "schema.json"
	b, err := os.ReadFile(name)
	if err != nil {
		return s, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return s, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, doc); err != nil {
		return s, err
	}
	for part, into := range map[string]**jsonschema.Schema{"client": &s.client, "server": &s.server, "resume": &s.resume} {
		if *into, err = c.Compile(name + "#/$defs/" + part); err != nil {
			return s, err
		}
	}
	return s, nil
})

func schemasOf(t testing.TB) schemas {
	t.Helper()
	s, err := loadSchemas()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fits says what is wrong with a document by a schema.
func fits(s *jsonschema.Schema, doc []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// mustFit wants what a client gets to be as the schema says.
func mustFit(t testing.TB, doc []byte) {
	t.Helper()
	if err := fits(schemasOf(t).server, doc); err != nil {
		t.Errorf("%s: %v", doc, err)
	}
}
