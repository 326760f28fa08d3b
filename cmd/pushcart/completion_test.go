package main

import (
	"strings"
	"testing"
)

func TestCompletion_IsThereForShells(t *testing.T) {
	for _, shell := range shells {
		if code, out, errs := run(t, "completion", shell); code != 0 || !strings.Contains(out, "pushcart") || errs != "" {
			t.Errorf("%s: exit %d %q", shell, code, errs)
		}
	}
}

func TestCompletion_KnowsCommandsFlagsAndValues(t *testing.T) {
	f := func(want string, words ...string) {
		t.Helper()
		if _, out, _ := run(t, append([]string{"__complete"}, words...)...); out != want {
			t.Errorf("%q: got %q, want %q", words, out, want)
		}
	}
	const noFiles, filesLike = ":4\n", ":8\n"
	f("token\tprint a token signed with the configured secret\n"+noFiles, "to")
	f("schema\tprint the JSON Schema of the configuration, for editors\n"+noFiles, "config", "s")
	f("--count\tend after N messages\n"+noFiles, "listen", "--cou")
	f("raw\tmessages are shown and sent as they are\njson\tpushcart.json.v1: channels, recovery, requests and answers\n"+noFiles, "listen", "--protocol", "")
	f("--subscribe\twith --protocol json, NAME of a channel to subscribe to as a client does; may be repeated\n"+noFiles, "listen", "--sub")
	f(noFiles, "listen", "--subscribe", "")
	f("list\tlist the events that wait for delivery, or the dead letters\n"+noFiles, "outbox", "l")
	f("waiting\twaits for delivery\ndead\tgiven up\n"+noFiles, "outbox", "list", "--state", "")
	f("yaml\nyml\n"+filesLike, "run", "--config", "")
	f("yaml\nyml\n"+filesLike, "check", "")
	f("bash\n"+noFiles, "completion", "b")
	f(noFiles, "push", "--user", "")
	f("listen\topen a WebSocket: print messages, send typed lines\n"+noFiles, "help", "li")
}
