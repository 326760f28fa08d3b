// Package auth turns a handshake's credentials into an identity: where a token
// may be, how a JWT is verified, what a "who am I" endpoint says. It never
// decides who gets in without credentials; package session does. The JWT library is
// imported here and nowhere else.
//
// All methods of Authenticator may be called concurrently.
package auth
