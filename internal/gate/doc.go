// Package gate decides who may call a listener that is for programs and operators,
// not for the public (SPEC §11 Push and admin listeners): no page of another site, no
// rebound DNS name, nobody without a token. What is exempt is for the listener to say.
//
// All methods may be called concurrently.
package gate
