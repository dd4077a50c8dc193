// Go's database/sql with go-sql-driver/mysql: the small session that every framework program here runs.
// Arguments: port, user, password.
//
// It says "ready" when its connection is set up and "done" before it closes it, and goes on each time when a line
// comes in; its last line is what it saw, as JSON.
package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"

	_ "github.com/go-sql-driver/mysql"
)

type book struct {
	ID    int64
	Title string
}

var seen = map[string]interface{}{}
var input = bufio.NewReader(os.Stdin)

func main() {
	port, user, password := os.Args[1], os.Args[2], os.Args[3]
	options := "parseTime=true&charset=utf8mb4&time_zone=%27%2B02%3A00%27&sql_mode=%27STRICT_TRANS_TABLES%27"
	db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(127.0.0.1:%s)/demo?%s", user, password, port, options))
	check(err)
	db.SetMaxOpenConns(1)
	var marker string
	check(db.QueryRow("SELECT 'set up' AS marker").Scan(&marker))
	seen["marker"] = marker
	pause("ready")
	session(db)
	pause("done")
	check(db.Close())
	text, err := json.Marshal(seen)
	check(err)
	fmt.Println(string(text))
}

func session(db *sql.DB) {
	ctx := context.Background()
	run(db, "drop table if exists fw_go")
	run(db, "create table fw_go (id int auto_increment primary key, title varchar(50) unique, copies int default 1)")
	ids := []int64{}
	for _, title := range []string{"one", "zwei", "äöü😀"} {
		result, err := db.Exec("insert into fw_go (title) values (?)", title)
		check(err)
		id, err := result.LastInsertId()
		check(err)
		ids = append(ids, id)
	}
	seen["ids"] = ids
	run(db, "update fw_go set copies = copies + 6 where title = 'one'")

	tx, err := db.BeginTx(ctx, nil)
	check(err)
	seen["locked"] = list(tx, "select id, title from fw_go where title = ? for update", "zwei")
	run(tx, "insert into fw_go (title) values ('kept')")
	seen["sees_its_own"] = list(tx, "select id, title from fw_go order by id")
	check(tx.Commit())

	tx, err = db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
	check(err)
	run(tx, "delete from fw_go")
	check(tx.Rollback())
	seen["after_rollback"] = list(db, "select id, title from fw_go order by id")

	tx, err = db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	check(err)
	seen["read_only"] = list(tx, "select id, title from fw_go order by id")
	_, err = tx.Exec("delete from fw_go")
	seen["refused"] = err.Error()
	check(tx.Rollback())

	_, err = db.Exec("insert into fw_go (title) values ('one')")
	seen["error"] = err.Error()
	statement, err := db.Prepare("select id, title from fw_go where copies <= ? order by id")
	check(err)
	lists := [][]book{}
	for n := 0; n < 10; n++ {
		rows, err := statement.Query(n)
		check(err)
		lists = append(lists, books(rows))
	}
	check(statement.Close())
	seen["lists"] = lists
	var epoch, collation string
	check(db.QueryRow("SELECT FROM_UNIXTIME(0) AS epoch, COLLATION('a') AS collation").Scan(&epoch, &collation))
	seen["epoch"] = []string{epoch, collation}
	var zone, mode, connection, autocommit string
	check(db.QueryRow("SELECT @@time_zone, @@sql_mode, @@collation_connection, @@autocommit").Scan(&zone, &mode, &connection, &autocommit))
	seen["state"] = []string{zone, mode, connection, autocommit}
	run(db, "drop table fw_go")
}

type runner interface {
	Exec(query string, values ...interface{}) (sql.Result, error)
	Query(query string, values ...interface{}) (*sql.Rows, error)
}

func run(on runner, query string) {
	_, err := on.Exec(query)
	check(err)
}

func list(on runner, query string, values ...interface{}) []book {
	rows, err := on.Query(query, values...)
	check(err)
	return books(rows)
}

func books(rows *sql.Rows) []book {
	defer rows.Close()
	found := []book{}
	for rows.Next() {
		var one book
		check(rows.Scan(&one.ID, &one.Title))
		found = append(found, one)
	}
	check(rows.Err())
	return found
}

func pause(word string) {
	fmt.Println(word)
	_, err := input.ReadString('\n')
	check(err)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
