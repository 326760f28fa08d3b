package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/pushcart/pushcart/internal/testkit"
)

// The published schemas that Go modules carry. Only their files are read: nothing of
// these modules is compiled.
const (
	kubernetesSchemas = "sigs.k8s.io/kubectl-validate@v0.0.4"           // of Kubernetes' API server
	composeSchema     = "github.com/compose-spec/compose-go/v2@v2.16.2" // of Docker Compose
)

// moduleFolder is where Go keeps a module's files.
func moduleFolder(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", module).Output()
	var m struct{ Dir string }
	if err != nil || json.Unmarshal(out, &m) != nil || m.Dir == "" {
		testkit.Missing(t, "the Go module "+module)
	}
	return m.Dir
}

// documents are those of a YAML file, as JSON has them.
func documents(t *testing.T, file string) (all []any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for d := yaml.NewDecoder(bytes.NewReader(b)); ; {
		var value any
		if err := d.Decode(&value); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, asJSON(t, value))
	}
}

func asJSON(t *testing.T, value any) any {
	t.Helper()
	b, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// readSchema compiles the part of a schema's file that a pointer names. closed: what a
// schema does not name is a mistake, as it is for an API server that is asked to be
// strict.
func readSchema(t *testing.T, file, pointer string, closed bool) *jsonschema.Schema {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if closed {
		closeObjects(doc)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("file:///schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("file:///schema.json#" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeObjects(v any) {
	switch v := v.(type) {
	case []any:
		for _, of := range v {
			closeObjects(of)
		}
	case map[string]any:
		if _, listed := v["properties"].(map[string]any); listed && v["type"] == "object" && v["additionalProperties"] == nil {
			v["additionalProperties"] = false
		}
		for _, of := range v {
			closeObjects(of)
		}
	}
}

// kubernetesSchema is that of one kind, like apps/v1 Deployment.
func kubernetesSchema(t *testing.T, apiVersion, kind string) *jsonschema.Schema {
	t.Helper()
	folder := filepath.Join(moduleFolder(t, kubernetesSchemas), "pkg/openapiclient/builtins/1.30")
	file := filepath.Join(folder, "apis", apiVersion+".json")
	if !strings.Contains(apiVersion, "/") {
		file = filepath.Join(folder, "api", apiVersion+".json")
	}
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("there is no API %s", apiVersion)
	}
	group, version, ok := strings.Cut(apiVersion, "/")
	if !ok {
		group, version = "core", apiVersion
	}
	group, _, _ = strings.Cut(group, ".")
	return readSchema(t, file, "/components/schemas/io.k8s.api."+group+"."+version+"."+kind, true)
}
