package session

import (
	"bytes"
	"encoding/json"

	"github.com/pushcart/pushcart/internal/strictjson"
)

// maxInfo bounds what presence shows of a user (SPEC §11).
const maxInfo = 1 << 10

// claimInfo is the token's claim with it.
const claimInfo = "info"

// showClaim takes what a token says that presence is to show.
func (w *admitting) showClaim(id *identity) {
	if !bytes.Contains(id.claims, []byte(`"`+claimInfo+`"`)) { // as most: nothing is read twice
		return
	}
	if claims, err := strictjson.Object(id.claims); err == nil {
		w.show(id, claims[claimInfo], "auth.jwt")
	}
}

// show takes what presence is to show, unless it is too large.
func (w *admitting) show(id *identity, info json.RawMessage, setting string) {
	switch {
	case strictjson.Null(info):
	case len(info) > maxInfo:
		w.engine.rare.Warn("info too large", "presence info is larger than 1 KiB and is ignored", "bytes", len(info), "setting", setting)
	default:
		id.info = info
	}
}
