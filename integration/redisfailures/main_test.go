package redisfailures

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/sidecartest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // they wait more than they work
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if !sidecartest.WithoutRace() {
		return m.Run() // all are skipped: no binary is needed
	}
	defer results.print()
	return sidecartest.Build(m, "../..")
}

// long says whether failures last as long as they do in the field: in make chaos.
func long() bool { return sidecartest.Chaos() > 0 }

// late is when something that is promised must have come. In make test, which runs beside
// much else and on machines that are four times slower, it has four times the margin.
func late(promised time.Duration) time.Duration {
	margin := sidecartest.Late(promised) - promised
	if !long() {
		margin *= 4
	}
	return promised + margin
}

// results are a table, a row for each failure.
var results table

type table struct {
	mu   sync.Mutex // guards rows
	rows []row
}

// row is one failure: how long it lasted, how long after its end all was well again, and
// what was lost.
type row struct {
	failure                                                string
	lasted, noticed, subscribed, up, seats, presence, told time.Duration
	plain, gaps, lost, untold                              int
}

func (t *table) add(r row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
}

const header = "| failure | lasted | noticed after | subscribed | up | seats | presence | events | pushes without history lost | gaps told | kept messages lost | events lost |\n" +
	"|---|---|---|---|---|---|---|---|---|---|---|---|"

func (r row) String() string {
	s := fmt.Sprintf("| %s |", r.failure)
	for _, d := range []time.Duration{r.lasted, r.noticed, r.subscribed, r.up, r.seats, r.presence, r.told} {
		if d < 0 {
			s += " – |"
			continue
		}
		s += fmt.Sprintf(" %.1f s |", d.Seconds())
	}
	return s + fmt.Sprintf(" %d | %d | %d | %d |", r.plain, r.gaps, r.lost, r.untold)
}

func (t *table) print() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rows) == 0 || !testing.Verbose() && !long() {
		return
	}
	slices.SortFunc(t.rows, func(a, b row) int { return strings.Compare(a.failure, b.failure) })
	fmt.Println(header)
	for _, r := range t.rows {
		fmt.Println(r)
	}
}
