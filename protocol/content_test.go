package protocol

import "testing"

func TestIsText(t *testing.T) {
	for _, text := range []string{"", "text/plain", "Text/HTML; charset=x", "application/json", "application/problem+json", "image/svg+xml"} {
		if !IsText(text) {
			t.Errorf("%q is text", text)
		}
	}
	for _, binary := range []string{"application/octet-stream", "image/png", "application/grpc"} {
		if IsText(binary) {
			t.Errorf("%q is not text", binary)
		}
	}
}

func TestIsJSON(t *testing.T) {
	for _, yes := range []string{"application/json", "Application/JSON; charset=utf-8", "application/problem+json"} {
		if !IsJSON(yes) {
			t.Errorf("%q is JSON", yes)
		}
	}
	for _, no := range []string{"", "text/json-seq", "text/plain", "application/xml"} {
		if IsJSON(no) {
			t.Errorf("%q is no JSON", no)
		}
	}
}
