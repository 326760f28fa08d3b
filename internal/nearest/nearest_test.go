package nearest

import "testing"

func TestWord_FindsWhatWasMeant(t *testing.T) {
	words := []string{"url", "ping_interval", "check", "channel", "trusted_proxies", "on"}
	for word, want := range map[string]string{
		"ulr": "url", "url_": "url", "pingInterval": "ping_interval", "PING-INTERVAL": "ping_interval", "chekc": "check", "chanel": "channel",
		"trusted_proxy": "trusted_proxies", "x": "", "": "", "no": "on", "something": "", "trusted": "trusted_proxies", "checking": "check", "tr": "",
	} {
		if got := Word(word, words); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
