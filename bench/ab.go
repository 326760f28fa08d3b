package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// minPairs: fewer say too little about a machine that others share.
const minPairs = 10

// ab compares two commits: it takes each figure from both in turn, old and new or
// new and old, and shows how much the new one costs in terms of the old one.
// Every measurement starts a new process, as two starts of one binary
// differ by more than two reads of one process do.
func ab(o options, args []string) error {
	if len(args) < 2 {
		return errors.New("ab wants two commits, and figures if not all: ab OLD NEW [push connect …]; . is this tree as it is")
	}
	if o.pairs < minPairs {
		return fmt.Errorf("-pairs wants at least %d", minPairs)
	}
	chosen, err := chooseFigures(args[2:])
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "pushcart-ab")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var binaries [2]string
	for i, commit := range args[:2] {
		if binaries[i], err = buildCommit(commit, filepath.Join(dir, fmt.Sprint(i))); err != nil {
			return fmt.Errorf("%s: %w", commit, err)
		}
	}
	redis, stop, err := redisFor(o)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Printf("%-34s %12s %12s %8s   95 %% interval   (%d pairs, new/old)\n", "", "old", "new", "ratio", o.pairs)
	for _, f := range chosen {
		c := comparison{name: f.name, unit: f.unit}
		for i := range o.pairs {
			if err := c.pair(o, f, binaries, redis, i%2 == 1); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
		fmt.Println(c)
	}
	return nil
}

func chooseFigures(names []string) (chosen []figure, err error) {
	var known []string
	for _, f := range figures {
		known = append(known, f.name)
		if len(names) == 0 {
			chosen = append(chosen, f)
		}
	}
next:
	for _, name := range names {
		for _, f := range figures {
			if f.name == name {
				chosen = append(chosen, f)
				continue next
			}
		}
		return nil, fmt.Errorf("want some of %s; got %q", strings.Join(known, ", "), name)
	}
	return chosen, nil
}

// buildCommit builds the binary of a commit in a worktree that it removes.
func buildCommit(commit, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if commit == "." {
		return build(dir)
	}
	tree := filepath.Join(dir, "tree")
	if out, err := exec.Command("git", "worktree", "add", "--detach", tree, commit).CombinedOutput(); err != nil {
		return "", fmt.Errorf("git worktree: %s", out)
	}
	defer func() { _ = exec.Command("git", "worktree", "remove", "--force", tree).Run() }()
	return buildIn(tree, dir)
}

// comparison is one figure of two binaries.
type comparison struct {
	name, unit string
	old, new   []float64
}

func (c *comparison) pair(o options, f figure, binaries [2]string, redis string, newFirst bool) error {
	order := []int{0, 1}
	if newFirst {
		order = []int{1, 0}
	}
	for _, which := range order {
		o.binary = binaries[which]
		v, err := f.take(o, redis)
		if err != nil {
			return err
		}
		if which == 0 {
			c.old = append(c.old, v)
		} else {
			c.new = append(c.new, v)
		}
	}
	return nil
}

// String is a line of the table.
func (c comparison) String() string {
	ratio, low, high := ratios(c.old, c.new)
	return fmt.Sprintf("%-34s %12.2f %12.2f %8.3f   %.3f to %.3f", c.name+", "+c.unit, median(clone(c.old)), median(clone(c.new)), ratio, low, high)
}

func clone(v []float64) []float64 { return append([]float64(nil), v...) }

// ratios returns the geometric mean of new/old over the pairs, and its 95 %
// interval by Student's t on the logarithms.
func ratios(old, new []float64) (mean, low, high float64) {
	n := float64(len(old))
	var sum, squares float64
	for i := range old {
		sum += math.Log(new[i] / old[i])
	}
	for i := range old {
		d := math.Log(new[i]/old[i]) - sum/n
		squares += d * d
	}
	half := student95(len(old)-1) * math.Sqrt(squares/(n-1)/n)
	return math.Exp(sum / n), math.Exp(sum/n - half), math.Exp(sum/n + half)
}

// student95 is the 97.5 % quantile of Student's t distribution, by the expansion
// of Abramowitz and Stegun 26.7.5 around the normal one: good to 0.01 from 9
// degrees of freedom on.
func student95(freedom int) float64 {
	const z = 1.959964
	v := float64(freedom)
	z3, z5, z7 := z*z*z, z*z*z*z*z, z*z*z*z*z*z*z
	return z + (z3+z)/(4*v) + (5*z5+16*z3+3*z)/(96*v*v) + (3*z7+19*z5+17*z3-15*z)/(384*v*v*v)
}
