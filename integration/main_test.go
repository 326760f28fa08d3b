package integration

import (
	"flag"
	"os"
	"testing"

	"github.com/pushcart/pushcart/internal/sidecartest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "4") // what runs in parallel waits more than it works
	os.Exit(sidecartest.Build(m, ".."))
}
