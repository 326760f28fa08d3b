package main

import (
	"math"
	"testing"
)

func TestRatios_KnowWhatIsSureAndWhatIsNot(t *testing.T) {
	f := func(old, new []float64, mean, low, high float64) {
		t.Helper()
		m, l, h := ratios(old, new)
		for i, pair := range [][2]float64{{m, mean}, {l, low}, {h, high}} {
			if math.Abs(pair[0]-pair[1]) > 0.005 {
				t.Errorf("%v: got %.4f, want %.4f", i, pair[0], pair[1])
			}
		}
	}
	same := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	f(same, same, 1, 1, 1)
	double := []float64{2, 4, 6, 8, 10, 12, 14, 16, 18, 20}
	f(same, double, 2, 2, 2)
	// ln(new/old) is ±0.1 in turn: its standard error is 0.1054/√10, t(9) = 2.262.
	up, down := math.Exp(.1), math.Exp(-.1)
	f([]float64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, []float64{up, down, up, down, up, down, up, down, up, down},
		1, math.Exp(-.0754), math.Exp(.0754))
}

func TestStudent95_IsThatOfTheTables(t *testing.T) {
	for freedom, want := range map[int]float64{9: 2.262, 14: 2.145, 29: 2.045, 99: 1.984} {
		if got := student95(freedom); math.Abs(got-want) > 0.01 {
			t.Errorf("%d: got %.3f, want %.3f", freedom, got, want)
		}
	}
}
