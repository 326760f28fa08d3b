package main

import "fmt"

// accessLog compares requests that are logged with requests that are not, in turn.
func accessLog(o options) error {
	fmt.Printf("%-34s %12s %12s %8s   95 %% interval   (%d pairs, all/off)\n", "", "off", "all", "ratio", o.pairs)
	c := comparison{name: "request", unit: "CPU-µs"}
	for i := range o.pairs {
		for turn := range 2 {
			all := (i+turn)%2 == 1
			if o.log = ""; all {
				o.log = ", access: all"
			}
			v, err := requestFigure(o, "")
			if err != nil {
				return err
			}
			if all {
				c.new = append(c.new, v)
			} else {
				c.old = append(c.old, v)
			}
		}
	}
	fmt.Println(c)
	return nil
}
