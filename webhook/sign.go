package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pushcart/pushcart/config"
)

// signer signs as Standard Webhooks say: HMAC-SHA256 of "id.timestamp.body", one
// signature for each secret, so that one can be rotated.
type signer struct{ keys [][]byte }

func newSigner(secrets []config.Secret) (*signer, error) {
	s := &signer{}
	for i, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(secret), "whsec_"))
		if err != nil {
			return nil, fmt.Errorf("webhook.secrets[%d]: not whsec_ and base64", i)
		}
		s.keys = append(s.keys, key)
	}
	return s, nil
}

// sign returns the values of webhook-timestamp and webhook-signature; the
// signature is "" where there are no secrets.
func (s *signer) sign(id string, at time.Time, body []byte) (timestamp, signature string) {
	timestamp = strconv.FormatInt(at.Unix(), 10)
	var out []byte
	for i, key := range s.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(body)
		if i > 0 {
			out = append(out, ' ')
		}
		out = append(out, "v1,"...)
		out = base64.StdEncoding.AppendEncode(out, mac.Sum(nil))
	}
	return timestamp, string(out)
}
