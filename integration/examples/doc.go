// Package examples tests what users copy, each with the real binary: the apps of
// examples/, the recipes of docs/recipes.md and the README's ten lines for a page. Like
// integration it imports none of the product's packages.
package examples
