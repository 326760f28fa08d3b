package push

import (
	"unicode/utf8"

	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/jsonread"
	"github.com/pushcart/pushcart/internal/strictjson"
)

// maxDepth is how deep JSON may be nested, as in encoding/json.
const maxDepth = 10000

type (
	// jsonReader reads the body of a request.
	jsonReader = jsonread.Reader
	// fault is what is wrong with it.
	fault = jsonread.Fault
)

// newJSONReader checks what concerns the body as a whole.
func newJSONReader(body []byte) (*jsonReader, *fault) {
	if !utf8.Valid(body) {
		return nil, &fault{Problem: "not UTF-8"}
	}
	return jsonread.New(strictjson.TrimBOM(body), maxDepth), nil
}

func bad(field, problem string) *fault { return &fault{Field: field, Problem: problem} }

func asError(f *fault) *apierror.Error {
	if f.Field == "" {
		return apierror.New(apierror.InvalidArgument, "body: "+f.Problem)
	}
	return apierror.Invalid(f.Field, f.Problem)
}
