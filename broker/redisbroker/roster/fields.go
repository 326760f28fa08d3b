package roster

import (
	"strings"

	"github.com/pushcart/pushcart/broker"
)

// The fields of roster:NODE. The first letter says what the rest names:
//
//	_                      the number of the last batch
//	c CONNECTION           L RECORD while it lives, E RECORD when its end is to be told
//	u USER                 nothing
//	o CHANNEL              nothing
//	m CHANNEL \n USER      how many connections, decimal
//
// An entry of due is u USER, o CHANNEL or m CHANNEL \n USER. Names have no control
// characters (SPEC §11 Names).
const (
	sequenceField = "_"

	livingRecord = "L"
	endedRecord  = "E"
	// memberGap is between a channel and its member.
	memberGap = "\n"
)

// parseField reads the name of a field. ok is false for the number, and for what is not
// one of ours.
func parseField(field string) (k key, ok bool) {
	if len(field) < 2 {
		return key{}, false
	}
	k = key{letter: field[0], name: field[1:]}
	switch k.letter {
	case 'c', 'u', 'o':
		return k, true
	case 'm':
		k.name, k.user, ok = strings.Cut(k.name, memberGap)
		return k, ok
	}
	return key{}, false
}

// factLetters are the kinds of facts in the outbox, its field t. Those of arrivals are
// the capitals of the letters of fields, those of departures the letters.
//
// The other fields: n name, u user, g generation, a at (Unix milliseconds), r record.
var factLetters = map[string]broker.FactKind{
	"U": broker.UserOnline, "u": broker.UserOffline,
	"O": broker.ChannelOccupied, "o": broker.ChannelVacated,
	"M": broker.MemberJoined, "m": broker.MemberLeft,
	"L": broker.ConnectionLost, "E": broker.ConnectionToTell,
}
