package ws
import ("testing";"unsafe")
func TestZZ(t *testing.T) { t.Log(unsafe.Sizeof(Conn{})) }
