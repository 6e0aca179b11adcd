package outage

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kalends/kalends/storage/storagetest"
	"github.com/kalends/kalends/test/blackbox"
)

// disk is a small file system in memory.
type disk struct {
	t   *testing.T
	dir string
}

func newDisk(t *testing.T, size string) disk {
	t.Helper()
	dir, err := os.MkdirTemp("", "kalends-disk-")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0777,size="+size); err != nil {
		os.Remove(dir)
		t.Fatalf("a small file system cannot be mounted: %v; this test needs root on Linux", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
		os.Remove(dir)
	})
	return disk{t, dir}
}

// grow gives the file system room.
func (d disk) grow(size string) {
	d.t.Helper()
	if err := syscall.Mount("tmpfs", d.dir, "tmpfs", syscall.MS_REMOUNT, "size="+size); err != nil {
		d.t.Fatal(err)
	}
}

// bulky is an event of about 200 KB that cannot be compressed.
func bulky(uid string) string {
	b := make([]byte, 150<<10)
	_, _ = rand.Read(b)
	return strings.Replace(event(uid), "SUMMARY:Meeting", "SUMMARY:Meeting\r\nDESCRIPTION:"+base64.RawURLEncoding.EncodeToString(b), 1)
}

// TestFull fills the disk of the database.
func TestFull(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		d := newDisk(t, "6m")
		full(t, d, "sqlite:"+filepath.Join(d.dir, "kalends.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		d := newDisk(t, "24m")
		c := storagetest.NewCluster(t, storagetest.ClusterOptions{})
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		if st, err := os.Stat(conn.Config().Host); err != nil {
			t.Fatal(err)
		} else if err := os.Chown(d.dir, int(st.Sys().(*syscall.Stat_t).Uid), -1); err != nil {
			t.Fatal(err)
		}
		// Tables on the small disk, the log of transactions elsewhere: a server
		// whose log has no room stops, which is TestAway.
		for _, statement := range []string{"CREATE TABLESPACE small LOCATION '" + d.dir + "'", "CREATE DATABASE kalends TABLESPACE small"} {
			if _, err := conn.Exec(ctx, statement); err != nil {
				t.Fatal(err)
			}
		}
		full(t, d, c.URL("kalends"))
	})
}

func full(t *testing.T, d disk, database string) {
	n := blackbox.NewWorld(t).Node("alpha.test", database)
	n.Start()
	n.People("alice", "bob")
	u := n.User("alice")
	if err := u.MustPut(u.Path("before.ics"), event("before")); err != nil {
		t.Fatal(err)
	}
	stored, refused := 0, blackbox.Answer{}
	for i := range 400 {
		name := fmt.Sprintf("bulky-%d", i)
		a, err := u.Put(u.Path(name+".ics"), bulky(name))
		if err != nil {
			t.Fatal(err)
		}
		if !a.OK() {
			refused = a
			break
		}
		stored++
	}
	if refused.Status != http.StatusInsufficientStorage || !strings.Contains(string(refused.Body), "no space left") {
		t.Fatalf("after %d objects: %s; want 507 that says why", stored, refused)
	}
	// What is there can still be read, and nothing of what was refused is.
	if a, err := u.Do("GET", u.Path("before.ics"), ""); err != nil || a.Status != 200 {
		t.Errorf("GET on a full disk: %v %v", a, err)
	}
	c, err := u.Sync("")
	if err != nil || len(c.ETags) != stored+1 {
		t.Errorf("%d objects were acknowledged and %d are there: %v", stored+1, len(c.ETags), err)
	}
	d.grow("96m")
	back(t, u, 0)
	if a, err := u.Put(u.Path("after.ics"), bulky("after")); err != nil || !a.OK() {
		t.Errorf("PUT with room: %v %v", a, err)
	}
	t.Logf("507 after %d objects", stored)
}
