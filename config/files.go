package config

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pushcart/pushcart/internal/files"
	"github.com/pushcart/pushcart/internal/tlsconf"
)

// readSecretFiles fills secrets from their …_file twins. A file without anything in
// it is a problem: no tokens would mean that everybody may push.
func (c *Config) readSecretFiles(p *Problems) {
	one := func(path string, value *Secret, file string) {
		if text, ok := checkSecretFile(p, path, *value, file); ok {
			*value = text
		}
	}
	list := func(path string, values *[]Secret, file string) {
		var text Secret
		one(path, &text, file)
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" {
				*values = append(*values, Secret(line))
			}
		}
	}
	one("auth.jwt.secret", &c.Auth.JWT.Secret, c.Auth.JWT.SecretFile)
	list("push.tokens", &c.Push.Tokens, c.Push.TokensFile)
	list("admin.tokens", &c.Admin.Tokens, c.Admin.TokensFile)
	list("webhook.secrets", &c.Webhook.Secrets, c.Webhook.SecretsFile)
	checkSecretFile(p, "redis.password", c.Redis.Password, c.Redis.PasswordFile)
	checkSecretFile(p, "redis.sentinel_password", c.Redis.SentinelPassword, c.Redis.SentinelPasswordFile)
	// What was read is in its place; a second Validate must not read it again.
	c.Auth.JWT.SecretFile = ""
	c.Push.TokensFile, c.Admin.TokensFile, c.Webhook.SecretsFile = "", "", ""
}

// checkSecretFile reads a file that holds a secret, if there is one, in place of a value.
// Who uses it reads the file again where it may change.
func checkSecretFile(p *Problems, path string, value Secret, file string) (text Secret, ok bool) {
	if file == "" {
		return "", false
	}
	read, err := files.Secret(file)
	switch {
	case value != "":
		p.addUnread(path+"_file", "set together with %s; use one of the two", path)
	case err != nil:
		p.addUnread(path+"_file", "%v", err)
	}
	return Secret(read), value == "" && err == nil
}

// checkFiles reads what else the configuration names, as its users will.
func (c *Config) checkFiles(p *Problems) {
	checkPair(p, "tls", c.TLS.CertFile, c.TLS.KeyFile)
	checkPair(p, "redis.tls", c.Redis.TLS.CertFile, c.Redis.TLS.KeyFile)
	checkCA(p, "backend.tls.ca_file", c.Backend.TLS.CAFile)
	checkCA(p, "redis.tls.ca_file", c.Redis.TLS.CAFile)
	c.checkPublicKey(p)
}

// checkPair loads a certificate and its key.
func checkPair(p *Problems, path, certFile, keyFile string) {
	if certFile == "" || keyFile == "" {
		return
	}
	_, certErr, keyErr := tlsconf.Pair(certFile, keyFile)
	if certErr != nil {
		p.add(path+".cert_file", "%v", certErr)
	}
	if keyErr != nil {
		p.add(path+".key_file", "%v", keyErr)
	}
}

func checkCA(p *Problems, path, file string) {
	if file == "" {
		return
	}
	if _, err := tlsconf.Pool(file); err != nil {
		p.add(path, "%v", err)
	}
}

// checkPublicKey reads the keys that verify tokens, and wants one for each
// algorithm unless more of them come from a JWKS.
func (c *Config) checkPublicKey(p *Problems) {
	const path = "auth.jwt.public_key_file"
	file := c.Auth.JWT.PublicKeyFile
	if file == "" {
		return
	}
	b, err := files.Read(file)
	if err != nil {
		p.add(path, "%v", err)
		return
	}
	families, err := keyFamilies(b)
	if err != nil {
		p.add(path, "%s: %v", file, err)
		return
	}
	for i, a := range c.Auth.JWT.Algorithms {
		family := strings.TrimRight(strings.Replace(a, "PS", "RS", 1), "0123456789")
		fits := slices.Contains(families, family) || slices.Contains(families, a)
		if slices.Contains(algorithms, a) && family != "HS" && !fits && c.Auth.JWT.JWKSURL == "" {
			p.add(item("auth.jwt.algorithms", i), "%s does not fit the key in %s, which is for %s", a, file, strings.Join(families, ", "))
		}
	}
}

// keyFamilies are the algorithms that the keys of a PEM file are for: RS (and PS),
// EdDSA, and ES256, ES384 or ES512 by the curve.
func keyFamilies(b []byte) ([]string, error) {
	var out []string
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		key, err := parseKey(block)
		if err != nil {
			return nil, err
		}
		switch k := key.(type) {
		case *rsa.PublicKey, *rsa.PrivateKey:
			out = append(out, "RS")
		case ed25519.PublicKey, ed25519.PrivateKey:
			out = append(out, "EdDSA")
		case *ecdsa.PublicKey:
			out = append(out, curves[k.Curve.Params().Name])
		case *ecdsa.PrivateKey:
			out = append(out, curves[k.Curve.Params().Name])
		default:
			return nil, fmt.Errorf("a key of type %T cannot verify tokens", key)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no PEM key in it")
	}
	return out, nil
}

var curves = map[string]string{"P-224": "P-224, which no algorithm takes", "P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}

func parseKey(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	}
	return nil, fmt.Errorf("want a PUBLIC KEY or a CERTIFICATE, got %s", block.Type)
}
