// Package strictjson reads the JSON that decides who gets in: claims, headers of
// tokens, key sets, answers of the backend. encoding/json matches the fields of a
// struct with case folded (a long s counts as s) and takes the last of two equal
// names, so a second EXP would overrule exp. Here names are exact, and an object
// with two equal ones is refused. It is pure functions over values.
package strictjson
