package ws

import "testing"

// An app that answers 200 to everything need not learn 204.
func TestConn_AnEmpty200ToAMessageSendsNothing(t *testing.T) {
	onEveryRoad(t, nil, func(t *testing.T, n *node) {
		c, _ := n.connect(t, "", nil)
		c.run(send(oneWrite, say("silence"), ping("p")).hears(aPong("p")))
		c.run(send(oneWrite, say("x")).hears(aText("x")))
		c.write(closing(CodeNormal, ""), oneWrite)
		c.hearsClose(CodeNormal)
	})
}
