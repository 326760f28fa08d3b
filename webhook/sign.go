package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"

	"github.com/pushcart/pushcart/config"
)

// signer signs as Standard Webhooks say: HMAC-SHA256 of "id.timestamp.body", one
// signature for each secret, so that one can be rotated.
type signer struct{ keys []*signingKey }

// signingKey keeps its prepared hashes: preparing one costs as much as signing.
type signingKey struct{ hashes sync.Pool }

// mac is one of them, with room for what it is fed and gives.
type mac struct {
	hash hash.Hash
	buf  []byte
}

func newSigner(secrets []config.Secret) (*signer, error) {
	s := &signer{}
	for i, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(secret), "whsec_"))
		if err != nil {
			return nil, fmt.Errorf("webhook.secrets[%d]: not whsec_ and base64", i)
		}
		k := &signingKey{}
		k.hashes.New = func() any { return &mac{hash: hmac.New(sha256.New, key)} }
		s.keys = append(s.keys, k)
	}
	return s, nil
}

// appendSignatures appends the value of webhook-signature; nothing where there are
// no secrets.
func (s *signer) appendSignatures(b []byte, id []byte, timestamp int64, body []byte) []byte {
	for i, k := range s.keys {
		if i > 0 {
			b = append(b, ' ')
		}
		b = k.append(append(b, "v1,"...), id, timestamp, body)
	}
	return b
}

func (k *signingKey) append(b []byte, id []byte, timestamp int64, body []byte) []byte {
	m := k.hashes.Get().(*mac)
	m.buf = append(append(m.buf[:0], id...), '.')
	m.buf = append(strconv.AppendInt(m.buf, timestamp, 10), '.')
	m.hash.Reset()
	m.hash.Write(m.buf)
	m.hash.Write(body)
	m.buf = m.hash.Sum(m.buf[:0])
	b = base64.StdEncoding.AppendEncode(b, m.buf)
	k.hashes.Put(m)
	return b
}
