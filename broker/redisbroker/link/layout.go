package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// ErrLayout, of Start: what Redis holds under our prefix is another version's.
var ErrLayout = errors.New("broker: another layout of keys")

// CheckLayout compares the stored layout with this version's, and stores this
// version's where there is none. Its error wraps ErrLayout, or is what Redis
// answered.
func (l *Link) CheckLayout(ctx context.Context, c *redis.Client) error {
	found, err := c.Get(ctx, l.keys.layout).Result()
	if errors.Is(err, redis.Nil) {
		found, err = c.SetArgs(ctx, l.keys.layout, layoutVersion, redis.SetArgs{Mode: "NX", Get: true}).Result()
		if errors.Is(err, redis.Nil) {
			return nil
		}
	}
	if err == nil && found != layoutVersion {
		err = fmt.Errorf("%w: %s is %q, this version's layout is %q; use another redis.prefix or redis.database, "+
			"or remove what is stored under this one", ErrLayout, l.keys.layout, found, layoutVersion)
	}
	return err
}
