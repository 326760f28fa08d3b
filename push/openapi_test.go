package push

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub/hubtest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// document is openapi.json, and what its operations were seen to answer.
type document struct {
	t        *testing.T
	root     map[string]any
	compiler *jsonschema.Compiler
	answered map[string]bool // "POST /v1/push"
	refused  map[string]bool // names of components.responses
}

// readDocument makes a schema of each object with properties that takes no others: an
// answer must not have a field that the document does not know.
func readDocument(t *testing.T) *document {
	t.Helper()
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPI))
	if err != nil {
		t.Fatal(err)
	}
	d := &document{t: t, root: root.(map[string]any), compiler: jsonschema.NewCompiler(), answered: map[string]bool{}, refused: map[string]bool{}}
	for _, s := range d.at("components", "schemas") {
		closeObjects(s)
	}
	if err := d.compiler.AddResource("openapi.json", d.root); err != nil {
		t.Fatal(err)
	}
	return d
}

func closeObjects(schema any) {
	switch s := schema.(type) {
	case map[string]any:
		if s["properties"] != nil && s["additionalProperties"] == nil {
			s["additionalProperties"] = false
		}
		for _, part := range s {
			closeObjects(part)
		}
	case []any:
		for _, part := range s {
			closeObjects(part)
		}
	}
}

// at is the object at a path of the document; nil where there is none.
func (d *document) at(path ...string) map[string]any {
	at := d.root
	for _, name := range path {
		at, _ = at[name].(map[string]any)
		if ref, ok := at["$ref"].(string); ok && strings.HasPrefix(ref, "#/components/responses/") {
			at = d.at(strings.Split(ref, "/")[1:]...)
		}
	}
	return at
}

// operations are those of the document, as "POST /v1/push".
func (d *document) operations() (out []string) {
	for path, methods := range d.at("paths") {
		for method := range methods.(map[string]any) {
			out = append(out, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(out)
	return out
}

// judge validates a body against the schema at a path of the document.
func (d *document) judge(body string, path ...string) error {
	pointer := "openapi.json#"
	for _, name := range path {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(name)
	}
	s, err := d.compiler.Compile(pointer)
	if err != nil {
		d.t.Fatalf("%s: %v", pointer, err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// call is one request of an operation; good says whether its body fits the document.
func (d *document) call(s *served, operation, path, body string, good bool, headers ...string) {
	d.t.Helper()
	method, template, _ := strings.Cut(operation, " ")
	at := []string{"paths", template, strings.ToLower(method)}
	if d.at(at...) == nil {
		d.t.Errorf("push/openapi.json has no %s: add it to paths", operation)
		return
	}
	kind := "application/json"
	for _, h := range headers {
		if value, ok := strings.CutPrefix(h, "Content-Type: "); ok {
			kind = value
		}
	}
	if takes := d.at(append(at, "requestBody", "content")...); body != "" && kind == contentJSON && takes[contentJSON] != nil {
		err := d.judge(body, append(at, "requestBody", "content", contentJSON, "schema")...)
		if good && err != nil {
			d.t.Errorf("%s: the document refuses the body %.200s\n%v", operation, body, err)
		}
		if !good && err == nil {
			d.t.Errorf("%s: the document takes the body %.200s", operation, body)
		}
	}
	r := s.call(method, path, body, headers...)
	d.response(operation, r, append(at, "responses", strconv.Itoa(r.status))...)
	if r.status < 300 {
		d.answered[operation] = true
		if !good {
			d.t.Errorf("%s: the API takes the body %.200s", operation, body)
		}
	}
}

// response validates an answer against what the document says at a path.
func (d *document) response(operation string, r *response, at ...string) {
	d.t.Helper()
	known := d.at(at...)
	if known == nil {
		d.t.Errorf("%s answered %d %s\nwhich push/openapi.json does not have: add it at %s", operation, r.status, r.body, strings.Join(at, "."))
		return
	}
	for name, response := range d.at("components", "responses") {
		if fmt.Sprint(response) == fmt.Sprint(known) {
			d.refused[name] = true
			at = []string{"components", "responses", name}
		}
	}
	for name := range d.at(append(at, "headers")...) {
		if r.header.Get(name) == "" {
			d.t.Errorf("%s: the answer has no %s", operation, name)
		}
	}
	if known["content"] == nil {
		if r.body != "" {
			d.t.Errorf("%s: a body that push/openapi.json does not have at %s: %s", operation, strings.Join(at, "."), r.body)
		}
		return
	}
	if got := r.header.Get("Content-Type"); got != contentJSON {
		d.t.Errorf("%s: Content-Type %q", operation, got)
	}
	if err := d.judge(r.body, append(at, "content", contentJSON, "schema")...); err != nil {
		d.t.Errorf("%s answered %d %s\nwhich is not what push/openapi.json says at %s; add its new fields to the schema there:\n%v",
			operation, r.status, r.body, strings.Join(at, "."), err)
	}
}

// routes are those of the API, as "POST /v1/push".
func routes(a *API) (out []string) {
	for _, r := range a.routes {
		for method := range r.methods {
			out = append(out, method+" "+strings.Join(r.segments, "/"))
		}
	}
	slices.Sort(out)
	return out
}

func TestOpenAPI_HasEveryRouteAndNoOther(t *testing.T) {
	d := readDocument(t)
	have, described := routes(newAPI(t, hubtest.Alone(t))), d.operations()
	for _, operation := range have {
		if !slices.Contains(described, operation) {
			t.Errorf("push/openapi.json has no %s: add it to paths, with its answers, and a call to TestOpenAPI_IsWhatTheAPIDoes", operation)
		}
	}
	for _, operation := range described {
		if !slices.Contains(have, operation) {
			t.Errorf("push/openapi.json has %s, which is not a route: take it out", operation)
		}
	}
	if d.root["openapi"] != "3.1.0" {
		t.Errorf("openapi: %v", d.root["openapi"])
	}
}

// Every operation has an id of its own, declares the names in its path, and has the
// errors that every request can get.
func TestOpenAPI_OperationsAreComplete(t *testing.T) {
	d := readDocument(t)
	ids := map[string]string{}
	for _, operation := range d.operations() {
		method, path, _ := strings.Cut(operation, " ")
		o := d.at("paths", path, strings.ToLower(method))
		id, _ := o["operationId"].(string)
		if id == "" || ids[id] != "" || o["summary"] == nil {
			t.Errorf("%s: operationId %q (also of %q), summary %v", operation, id, ids[id], o["summary"])
		}
		ids[id] = operation
		declared := fmt.Sprint(o["parameters"])
		for segment := range strings.SplitSeq(path, "/") {
			if name, ok := strings.CutPrefix(segment, "{"); ok && !strings.Contains(declared, "#/components/parameters/"+strings.TrimSuffix(name, "}")+"]") {
				t.Errorf("%s does not declare %s among its parameters", operation, segment)
			}
		}
		answers := o["responses"].(map[string]any)
		for _, status := range []string{"400", "401", "403", "413", "431", "500"} {
			if answers[status] == nil {
				t.Errorf("%s: every request can be answered %s; add it to its responses", operation, status)
			}
		}
	}
}

func TestOpenAPI_IsServed(t *testing.T) {
	s := serve(t, hubtest.Alone(t))
	r := s.want(200, "GET", "/v1/openapi.json", "")
	if r.body != string(openAPI) || r.header.Get("Content-Type") != contentJSON {
		t.Errorf("got %s %.100s", r.header.Get("Content-Type"), r.body)
	}
}

// TestOpenAPI_IsWhatTheAPIDoes calls every operation, so that each is answered and
// each of the shared errors is seen, and holds requests and answers to the document.
func TestOpenAPI_IsWhatTheAPIDoes(t *testing.T) {
	d := readDocument(t)
	d.pushes()
	d.questions()
	d.histories()
	d.outbox()
	d.refusals()
	for _, operation := range d.operations() {
		if !d.answered[operation] {
			t.Errorf("%s was never answered: add a call of it", operation)
		}
	}
	for name := range d.at("components", "responses") {
		if !d.refused[name] {
			t.Errorf("no request was answered with components.responses.%s: add one, or take it out", name)
		}
	}
}

func (d *document) pushes() {
	h := hubtest.Alone(d.t)
	c := hubtest.Join(d.t, h, "42", "news")
	id := c.Member().ID()
	s := serve(d.t, h)
	one := func(good bool, body string) { d.call(s, "POST /v1/push", "/v1/push", body, good) }
	one(true, `{"to":{"users":["42",42],"channels":["news"],"connections":["`+id+`"],"all":true},"data":{"a":[1]},"event":"e.1","id":"k","ttl":"30s","wait":"1s","ack":false}`)
	one(true, `{"to":{"users":["42",42],"channels":["news"],"connections":["`+id+`"],"all":true},"data":{"a":[1]},"event":"e.1","id":"k","ttl":"30s","wait":"1s"}`)
	one(true, `{"to":{"all":true},"except":{"users":[42],"connections":["x"]},"text":"x","wait":"0"}`)
	one(true, `{"to":{"users":["x"],"all":null},"except":null,"data_base64":"AAE=","event":null,"id":null,"ttl":null,"wait":null,"ack":null}`)
	one(true, `{"pushes":[{"to":{"all":true},"text":"x"},{"to":{"users":["42"]},"data":null},{"to":{"users":["42"]},"data":1,"id":"k2"},{"to":{"users":["42"]},"data":2,"id":"k2"}]}`)
	one(true, `{"to":{"users":["42"]},"data":"other","id":"k"}`)
	for _, bad := range []string{
		`{"text":"x"}`, `{"to":{},"text":"x"}`, `{"to":{"all":true}}`, `{"to":{"all":true},"text":"x","data":1}`, `{"to":{"all":true},"text":5}`, `[]`,
		`{"to":{"all":true},"text":"x","extra":1}`, `{"to":{"everybody":true},"text":"x"}`, `{"to":{"users":"42"},"text":"x"}`, `{"to":{"users":[true]},"text":"x"}`,
		`{"to":{"channels":[""]},"text":"x"}`, `{"to":{"all":true},"text":"x","event":"E"}`, `{"to":{"all":true},"text":"x","wait":"soon"}`, `{"to":{"all":true},"text":"x","wait":5}`,
		`{"pushes":[{"to":{"all":true}}]}`, `{"pushes":{}}`, `{"pushes":[],"text":"x"}`, `{"to":{"all":true},"text":"x","id":""}`,
	} {
		one(false, bad)
	}
	text := "Content-Type: text/plain"
	d.call(s, "POST /v1/users/{user}/push", "/v1/users/42/push?event=e&id=r&ttl=30s&wait=1s", "x", true, text)
	d.call(s, "POST /v1/channels/{channel}/push", "/v1/channels/news/push", `{"a":1}`, true)
	d.call(s, "POST /v1/connections/{connection}/push", "/v1/connections/"+id+"/push", "\x00\xff", true, "Content-Type: application/octet-stream")
	d.call(s, "POST /v1/all/push", "/v1/all/push", "x", true, text)
	d.call(s, "POST /v1/all/push", "/v1/all/push", "x", true, text, "Content-Encoding: gzip")
	d.call(s, "POST /v1/users/{user}/push", "/v1/users/42/push?id=r", "other", true, text)
	d.call(s, "POST /v1/push", "/v1/push", "<xml/>", true, "Content-Type: application/xml")
}

func (d *document) questions() {
	h, other, _ := hubtest.Pair(d.t)
	h.SetAddress("10.0.0.7:8080")
	c := hubtest.Join(d.t, h, "4/2", "news", "a.b")
	hubtest.Join(d.t, other, "4/2", "sport")
	anonymous := hubtest.Join(d.t, h, "")
	at := "/v1/connections/" + c.Member().ID()
	s := serve(d.t, h)
	d.call(s, "GET /v1/users/{user}", "/v1/users/4%2F2", "", true)
	d.call(s, "GET /v1/users/{user}", "/v1/users/nobody", "", true)
	d.call(s, "GET /v1/users/{user}", "/v1/users/%zz", "", true)
	d.call(s, "GET /v1/connections/{connection}", at, "", true)
	d.call(s, "GET /v1/connections/{connection}", "/v1/connections/"+anonymous.Member().ID(), "", true)
	d.call(s, "GET /v1/connections/{connection}", "/v1/connections/none", "", true)
	d.call(s, "PATCH /v1/connections/{connection}", at, `{"state":{"cart":[1,2]}}`, true)
	d.call(s, "GET /v1/connections/{connection}", at, "", true)
	for _, bad := range []string{`{}`, `{"state":1,"x":1}`, `5`} {
		d.call(s, "PATCH /v1/connections/{connection}", at, bad, false)
	}
	d.call(s, "PATCH /v1/connections/{connection}", at, `{"state":"`+strings.Repeat("x", MaxState)+`"}`, true)
	subscription := "/v1/connections/{connection}/channels/{channel}"
	for i := range 3 { // 4 is the limit of newAPI
		d.call(s, "PUT "+subscription, fmt.Sprintf("%s/channels/c%d", at, i), "", true)
	}
	d.call(s, "PUT "+subscription, "/v1/connections/none/channels/c", "", true)
	d.call(s, "DELETE "+subscription, at+"/channels/c0", "", true)
	d.lasting()
	d.call(s, "GET /v1/channels", "/v1/channels?limit=1", "", true)
	d.call(s, "GET /v1/channels", "/v1/channels?match=n*&cursor=a.b", "", true)
	d.call(s, "GET /v1/channels", "/v1/channels?limit=0", "", true)
	d.call(s, "GET /v1/channels/{channel}/presence", "/v1/channels/news/presence", "", true)
	d.presence()
	d.call(s, "GET /v1/nodes", "/v1/nodes", "", true)
	d.call(s, "GET /v1/openapi.json", "/v1/openapi.json", "", true)
	d.call(s, "POST /v1/channels/{channel}/disconnect", "/v1/channels/news/disconnect", `{"code":4100,"reason":"bye"}`, true)
	d.call(s, "POST /v1/users/{user}/disconnect", "/v1/users/4%2F2/disconnect", `{}`, true)
	d.call(s, "POST /v1/connections/{connection}/disconnect", at+"/disconnect", "", true)
	for _, bad := range []string{`{"code":1001}`, `{"code":5000}`, `{"code":"x"}`, `{"reason":5}`, `{"text":"x"}`, `{"reason":"` + strings.Repeat("x", 124) + `"}`} {
		d.call(s, "POST /v1/users/{user}/disconnect", "/v1/users/42/disconnect", bad, false)
	}
}

func (d *document) lasting() {
	h := hubtest.Alone(d.t)
	keeping(d.t, h)
	s := serve(d.t, h)
	subscription, at := "/v1/users/{user}/channels/{channel}", "/v1/users/4%2F2/channels/"
	for i := range 4 { // 3 is the limit of keeping
		d.call(s, "PUT "+subscription, fmt.Sprint(at, "c", i), "", true)
	}
	d.call(s, "PUT "+subscription, at+"a*", "", true)
	d.call(s, "DELETE "+subscription, at+"c0", "", true)
	d.call(s, "DELETE "+subscription, at+"never", "", true)
}

func (d *document) presence() {
	h := present(d.t)
	s := serve(d.t, h)
	d.call(s, "GET /v1/channels/{channel}/presence", "/v1/channels/room.1/presence?limit=1", "", true)
	d.call(s, "GET /v1/channels/{channel}/presence", "/v1/channels/room.1/presence?cursor=ann", "", true)
	d.call(s, "GET /v1/channels/{channel}/presence", "/v1/channels/room.1/presence?limit=0", "", true)
}

func (d *document) histories() {
	h := hubtest.Alone(d.t)
	keeping(d.t, h)
	s := serve(d.t, h)
	d.call(s, "POST /v1/push", "/v1/push", `{"to":{"users":["42"],"channels":["k1"]},"except":{"users":["7"]},"event":"e","data":{"a":1}}`, true)
	d.call(s, "POST /v1/channels/{channel}/push", "/v1/channels/k1/push", "\x00", true, "Content-Type: application/octet-stream")
	d.call(s, "GET /v1/users/{user}/history", "/v1/users/42/history", "", true)
	d.call(s, "GET /v1/channels/{channel}/history", "/v1/channels/k1/history?limit=1", "", true)
	d.call(s, "GET /v1/channels/{channel}/history", "/v1/channels/k1/history?after=1", "", true)
	d.call(s, "GET /v1/channels/{channel}/history", "/v1/channels/k1/history?after=x", "", true)
	d.call(s, "GET /v1/channels/{channel}/history", "/v1/channels/other/history", "", true)
	d.call(s, "DELETE /v1/users/{user}/history", "/v1/users/42/history", "", true)
	d.call(s, "DELETE /v1/channels/{channel}/history", "/v1/channels/k1/history", "", true)
}

// refusals are the errors that any request can get.
func (d *document) refusals() {
	guarded := serve(d.t, hubtest.Alone(d.t), func(c *config.Push) { c.Tokens, c.MaxBody = []config.Secret{"t"}, 100 })
	d.call(guarded, "GET /v1/nodes", "/v1/nodes", "", true)
	d.call(guarded, "GET /v1/nodes", "/v1/nodes", "", true, "Host: evil.example", "Authorization: Bearer t")
	d.call(guarded, "POST /v1/push", "/v1/push", `{"to":{"all":true},"text":"`+strings.Repeat("x", 200)+`"}`, true)
	d.call(guarded, "GET /v1/nodes", "/v1/nodes", "", true, "X-Long: "+strings.Repeat("x", 32<<10))

	h, _, net := hubtest.Pair(d.t)
	away := serve(d.t, h)
	net.Set(func() { net.Down = true })
	d.call(away, "POST /v1/push", "/v1/push", `{"to":{"users":["42"]},"text":"x","id":"k"}`, true)
	d.call(away, "GET /v1/nodes", "/v1/nodes", "", true)

	a := newAPI(d.t, hubtest.Alone(d.t))
	a.hub = nil
	d.call(serveOn(d.t, a, testkit.Listen(d.t)), "GET /v1/nodes", "/v1/nodes", "", true)

	s := serve(d.t, hubtest.Alone(d.t))
	for path, methods := range d.at("paths") {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			if _, taken := methods.(map[string]any)[strings.ToLower(method)]; !taken {
				concrete := strings.NewReplacer("{", "", "}", "").Replace(path)
				d.response(method+" "+path, s.want(405, method, concrete, ""), "components", "responses", "MethodNotAllowed")
			}
		}
	}
}
