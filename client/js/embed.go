package client

import _ "embed"

// Script is dist/pushcart.js, an ES module without dependencies. The tests of client/js
// hold it to its sources.
//
//go:embed dist/pushcart.js
var Script string
