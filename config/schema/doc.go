// Package schema is the configuration as a JSON Schema (draft 2020-12), so that
// editors complete and check pushcart.yaml. It is made from the structs of package
// config, their defaults and their comments. It knows types, words and names of keys;
// what values mean together is judged by config.Load alone.
//
// go test ./config/schema -update writes what is committed: comments.json, and
// pushcart.schema.json at the top.
package schema
