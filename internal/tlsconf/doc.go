// Package tlsconf makes TLS configurations of PEM files: whom a client of ours
// trusts, which certificate is shown. Errors begin with the file's name, after the
// setting's where that is known here.
package tlsconf
