package integration

import (
	"os"
	"testing"

	"github.com/pushcart/pushcart/internal/sidecartest"
)

func TestMain(m *testing.M) { os.Exit(sidecartest.Build(m, "..")) }
