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
	return n.link.checkLayout(ctx, func(add func(redis.Cmdable)) error {
		_, err := n.Exchange(ctx, func(pipe redis.Pipeliner) { add(pipe) })
		return err
	})
}

// CheckLayout is that of a Line, on a client that Connect returned.
func (l *Link) CheckLayout(ctx context.Context, c *redis.Client) error {
	return l.checkLayout(ctx, func(add func(redis.Cmdable)) error {
		add(c)
		return nil
	})
}

// checkLayout has one command after the other sent.
func (l *Link) checkLayout(ctx context.Context, send func(add func(redis.Cmdable)) error) error {
	var get *redis.StringCmd
	if err := send(func(to redis.Cmdable) { get = to.Get(ctx, l.keys.layout) }); err != nil {
		return err
	}
	found, err := get.Result()
	if errors.Is(err, redis.Nil) {
		var set *redis.StatusCmd
		args := redis.SetArgs{Mode: "NX", Get: true}
		if err := send(func(to redis.Cmdable) { set = to.SetArgs(ctx, l.keys.layout, layoutVersion, args) }); err != nil {
			return err
		}
		if found, err = set.Result(); errors.Is(err, redis.Nil) {
			return nil
		}
	}
	if err == nil && found != layoutVersion {
		err = fmt.Errorf("%w: %s is %q, this version's layout is %q; use another redis.prefix or redis.database, "+
			"or remove what is stored under this one", ErrLayout, l.keys.layout, found, layoutVersion)
	}
	return err
}
