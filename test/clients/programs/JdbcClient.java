import java.sql.*;
import java.util.*;

/** MariaDB Connector/J: prints what it got, line by line. Arguments: port, user, password, tls (0 or 1). */
public class JdbcClient {
    public static void main(String[] args) throws Exception {
        String url = "jdbc:mariadb://127.0.0.1:" + args[0] + "/demo?user=" + args[1] + "&password=" + args[2]
            + "&useServerPrepStmts=true&allowMultiQueries=true&allowPublicKeyRetrieval=true"
            + (args[3].equals("1") ? "&useSsl=true&trustServerCertificate=true" : "");
        try (Connection db = DriverManager.getConnection(url); Statement statement = db.createStatement()) {
            say("server", db.getMetaData().getDatabaseProductVersion());
            rows("select", statement.executeQuery("select 6*7 as a, 'äöü' as b, null as c, 1.5 as d"));
            statement.execute("drop table if exists jdbc");
            statement.execute("create table jdbc (id int auto_increment primary key, v varchar(50), b longblob)");
            try (PreparedStatement insert = db.prepareStatement("insert into jdbc (v, b) values (?, ?)", 1)) {
                for (int i = 0; i < 50; i++) {
                    insert.setString(1, "v" + i);
                    insert.setBytes(2, i % 2 == 0 ? null : new byte[] {0, (byte) 255});
                    insert.addBatch();
                }
                say("batch", Arrays.toString(insert.executeBatch()));
                rows("keys", insert.getGeneratedKeys());
                insert.setString(1, "big");
                insert.setBytes(2, new byte[20_000_000]);
                say("big", insert.executeUpdate());
            }
            rows("big read", statement.executeQuery("select length(b) from jdbc where v = 'big'"));
            try (PreparedStatement select = db.prepareStatement("select id, v from jdbc where id < ? order by id")) {
                for (int limit : new int[] {3, 5, 4}) {
                    select.setInt(1, limit);
                    rows("prepared", select.executeQuery());
                }
                select.setFetchSize(2);
                select.setInt(1, 8);
                rows("streamed", select.executeQuery());
            }
            db.setAutoCommit(false);
            statement.executeUpdate("delete from jdbc");
            db.rollback();
            db.setAutoCommit(true);
            rows("after rollback", statement.executeQuery("select count(*) from jdbc"));
            for (String sql : List.of("select * from missing", "selec", "insert into jdbc (id) values (1)")) {
                try {
                    statement.execute(sql);
                } catch (SQLException error) {
                    say("error", error.getErrorCode() + " " + error.getSQLState() + " "
                        + error.getMessage().replaceAll("\\(conn=\\d+\\) ", ""));
                }
            }
            statement.execute("drop procedure if exists jdbc_out");
            statement.execute("create procedure jdbc_out(in x int, out y int) begin select x; set y = x * 2; end");
            try (CallableStatement call = db.prepareCall("{call jdbc_out(?, ?)}")) {
                call.setInt(1, 21);
                call.registerOutParameter(2, Types.INTEGER);
                call.execute();
                say("out", call.getInt(2));
            }
            boolean isRows = statement.execute("select 1; select 2, 3; do 1");
            for (int i = 0; i < 3; i++) {
                if (isRows) rows("several", statement.getResultSet());
                isRows = statement.getMoreResults();
            }
            db.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            say("isolation", db.getTransactionIsolation());
            db.setReadOnly(true);
            db.setReadOnly(false);
            db.setCatalog("mysql");
            say("catalog", db.getCatalog());
            say("valid", db.isValid(5));
            statement.execute("drop table demo.jdbc");
        }
    }

    private static void say(String name, Object value) {
        System.out.println(name + ": " + value);
    }

    private static void rows(String name, ResultSet rows) throws SQLException {
        ResultSetMetaData about = rows.getMetaData();
        StringBuilder text = new StringBuilder();
        for (int column = 1; column <= about.getColumnCount(); column++) {
            text.append(about.getColumnLabel(column)).append(' ').append(about.getColumnTypeName(column)).append(' ');
        }
        while (rows.next()) {
            text.append("| ");
            for (int column = 1; column <= about.getColumnCount(); column++) text.append(rows.getString(column)).append(' ');
        }
        say(name, text);
    }
}
