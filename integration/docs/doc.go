// Package docs plays a reader: it makes a fresh clone, works through each page of the
// repository from top to bottom, types what the page says, and compares what it sees
// with what the page shows. CONTRIBUTING.md says how a page marks its blocks.
//
// Each page is read in a network of its own, so that ports are those of the page.
package docs
