package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// ErrLayout, of Start: what Redis holds under our prefix is another version's.
var ErrLayout = errors.New("broker: another layout of keys")

// CheckLayout compares the layout that is stored with this version's, and stores this
// version's where there is none. Its error wraps ErrLayout, or says what went wrong.
func (n *Line) CheckLayout(ctx context.Context) error {
	k := n.link.keys
	var get *redis.StringCmd
	if _, err := n.Exchange(ctx, func(pipe redis.Pipeliner) { get = pipe.Get(ctx, k.layout) }); err != nil {
		return err
	}
	found, err := get.Result()
	if errors.Is(err, redis.Nil) {
		var set *redis.StatusCmd
		args := redis.SetArgs{Mode: "NX", Get: true}
		if _, err := n.Exchange(ctx, func(pipe redis.Pipeliner) { set = pipe.SetArgs(ctx, k.layout, layoutVersion, args) }); err != nil {
			return err
		}
		if found, err = set.Result(); errors.Is(err, redis.Nil) {
			return nil
		}
	}
	if err == nil && found != layoutVersion {
		err = fmt.Errorf("%w: %s is %q, this version's layout is %q; use another redis.prefix or redis.database, "+
			"or remove what is stored under this one", ErrLayout, k.layout, found, layoutVersion)
	}
	return err
}
