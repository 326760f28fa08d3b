package guard_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/guard"
)

func rig() (g *guard.Guard, out *bytes.Buffer, count *int) {
	out, count = &bytes.Buffer{}, new(int)
	return guard.New(slog.New(slog.NewTextHandler(out, nil)), func() { *count++ }), out, count
}

func TestRecover_LogsCountsAndEnds(t *testing.T) {
	g, out, count := rig()
	ended := 0
	f := func() {
		defer g.Recover("a connection", func() { ended++ })
		var none []int
		_ = none[ended] // out of range
	}
	f()
	f()
	if ended != 2 || *count != 2 {
		t.Errorf("ended %d, counted %d, want 2 of both", ended, *count)
	}
	line := out.String()
	if strings.Count(line, "\n") != 1 || !strings.Contains(line, "a connection") || !strings.Contains(line, "guard_test.go") {
		t.Errorf("want one line with its stack, got %q", line)
	}
}

func TestRecover_SurvivesAPanicOfTheEnd(t *testing.T) {
	g, out, count := rig()
	func() {
		defer g.Recover("a connection", func() { panic("again") })
		panic("first")
	}()
	if *count != 2 || !strings.Contains(out.String(), "first") || !strings.Contains(out.String(), "again") {
		t.Errorf("counted %d: %q", *count, out)
	}
}

func TestRecover_DoesNothingWithoutAPanic(t *testing.T) {
	g, out, count := rig()
	func() { defer g.Recover("a connection", func() { t.Error("ended") }) }()
	if *count != 0 || out.Len() != 0 {
		t.Errorf("counted %d: %q", *count, out)
	}
}

func TestLoop_GoesOnAfterAPanic(t *testing.T) {
	g, _, count := rig()
	turns := 0
	g.Loop("a loop", func() {
		if turns++; turns < 3 {
			panic("turn")
		}
	})
	if turns != 3 || *count != 2 {
		t.Errorf("%d turns, %d panics", turns, *count)
	}
}
