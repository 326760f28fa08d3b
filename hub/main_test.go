package hub

import (
	"testing"

	"github.com/pushcart/pushcart/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
