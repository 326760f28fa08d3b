package config

import (
	"net/netip"
	"os"
	"reflect"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestExample_IsTheReference holds config.example.yaml to the structs: it is valid,
// has every key, has no other, and shows the defaults.
func TestExample_IsTheReference(t *testing.T) {
	data, err := os.ReadFile("../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(data, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatalf("the example is not valid:\n%v", err)
	}
	want := Default()
	want.Backend.URL = "http://127.0.0.1:3000"
	if !equal(reflect.ValueOf(got), reflect.ValueOf(want)) {
		t.Errorf("the example does not show the defaults:\ngot  %+v\nwant %+v", got, want)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	checkKeys(t, "", doc, reflect.TypeFor[Config]())
}

// equal is DeepEqual that takes an empty list for none.
func equal(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Slice:
		if a.Len() == 0 && b.Len() == 0 {
			return true
		}
	case reflect.Struct:
		for i := range a.NumField() {
			if !equal(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

func checkKeys(t *testing.T, path string, doc map[string]any, of reflect.Type) {
	t.Helper()
	for i := range of.NumField() {
		f := of.Field(i)
		key := f.Tag.Get("yaml")
		value, ok := doc[key]
		if !ok {
			t.Errorf("%s%s is missing in config.example.yaml", path, key)
			continue
		}
		switch {
		case f.Type.Kind() == reflect.Struct:
			checkKeys(t, path+key+".", value.(map[string]any), f.Type)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct && f.Type.Elem() != reflect.TypeFor[netip.Prefix]():
			checkKeys(t, path+key+"[0].", value.([]any)[0].(map[string]any), f.Type.Elem())
		}
	}
}
