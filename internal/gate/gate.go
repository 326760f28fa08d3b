package gate

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/hostport"
)

// Settings are what of the configuration may change while the process runs
// (SPEC §2). They do not change: a reload makes new ones and calls Gate.Apply.
type Settings struct {
	hosts  map[string]bool
	tokens [][sha256.Size]byte
}

// NewSettings makes settings of names that Host may be besides IP addresses and
// localhost, and of bearer tokens.
func NewSettings[Token ~string](hosts []string, tokens []Token) *Settings {
	s := &Settings{hosts: map[string]bool{}}
	for _, h := range hosts {
		s.hosts[strings.ToLower(h)] = true
	}
	for _, t := range tokens {
		s.tokens = append(s.tokens, sha256.Sum256([]byte(t)))
	}
	return s
}

// Rules are how listeners differ.
type Rules struct {
	// Section is the listener's in the configuration, for messages.
	Section string
	// NoPages is why a request with an Origin is refused; "": it is not, as the
	// listener has pages itself.
	NoPages string
	// NeedsTokens: without tokens in the settings nobody may call.
	NeedsTokens bool
}

// Gate is one listener's.
type Gate struct {
	rules    Rules
	settings atomic.Pointer[Settings]
}

// New returns a gate.
func New(r Rules, s *Settings) *Gate {
	g := &Gate{rules: r}
	g.settings.Store(s)
	return g
}

// Apply changes the settings for the requests to come.
func (g *Gate) Apply(s *Settings) { g.settings.Store(s) }

// Request is what of a request counts; a header that it does not have is empty.
type Request struct {
	Host      string
	FetchSite []byte
	// Origin: there is such a header.
	Origin        bool
	Authorization []byte
}

// Check returns why a request may not be answered, nil where it may.
func (g *Gate) Check(r Request) *apierror.Error { return g.rules.Check(g.settings.Load(), r) }

// Check is Gate.Check with settings that the caller keeps.
func (rules Rules) Check(set *Settings, r Request) *apierror.Error {
	if !set.goodHost(r.Host) {
		return apierror.New(apierror.Forbidden, "Host must be an IP address, localhost or one of "+rules.Section+".hosts")
	}
	if site := r.FetchSite; len(site) > 0 && string(site) != "none" && string(site) != "same-origin" {
		return apierror.New(apierror.Forbidden, "not for pages of other sites")
	}
	if r.Origin && rules.NoPages != "" {
		return apierror.New(apierror.Forbidden, rules.NoPages)
	}
	switch {
	case len(set.tokens) > 0 && !set.goodToken(r.Authorization):
		return apierror.New(apierror.Unauthenticated, "Authorization: Bearer with one of "+rules.Section+".tokens is wanted")
	case len(set.tokens) == 0 && rules.NeedsTokens:
		return apierror.New(apierror.Forbidden, "set "+rules.Section+".tokens to open this beyond loopback")
	}
	return nil
}

func (s *Settings) goodHost(host string) bool {
	name := hostport.Host(host)
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	name = strings.ToLower(name)
	return name == "localhost" || s.hosts[name]
}

var scheme = []byte("bearer ")

// goodToken compares hashes, so that neither content nor length shows in time.
func (s *Settings) goodToken(header []byte) bool {
	if len(header) < len(scheme) || !bytes.EqualFold(header[:len(scheme)], scheme) {
		return false
	}
	sum := sha256.Sum256(header[len(scheme):])
	good := 0
	for i := range s.tokens {
		good |= subtle.ConstantTimeCompare(sum[:], s.tokens[i][:])
	}
	return good == 1
}
