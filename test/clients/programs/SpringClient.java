import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.*;
import java.util.*;
import org.springframework.dao.DataAccessException;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.core.simple.SimpleJdbcInsert;
import org.springframework.jdbc.datasource.DataSourceTransactionManager;
import org.springframework.transaction.TransactionDefinition;
import org.springframework.transaction.support.TransactionTemplate;

/**
 * Spring's JdbcTemplate and transactions on HikariCP and MariaDB Connector/J: the small session that every
 * framework program here runs. Arguments: port, user, password.
 *
 * It says "ready" when its connection is set up and "done" before it closes it, and goes on each time when a
 * line comes in; then it says what it saw.
 */
public class SpringClient {
    static final BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
    static final Map<String, Object> seen = new LinkedHashMap<>();

    public static void main(String[] args) throws Exception {
        HikariConfig config = new HikariConfig();
        config.setJdbcUrl("jdbc:mariadb://127.0.0.1:" + args[0] + "/demo?allowPublicKeyRetrieval=true");
        config.setUsername(args[1]);
        config.setPassword(args[2]);
        config.setMaximumPoolSize(1);
        config.setConnectionInitSql("SET time_zone = '+02:00'");
        config.setTransactionIsolation("TRANSACTION_READ_COMMITTED");
        try (HikariDataSource source = new HikariDataSource(config)) {
            JdbcTemplate db = new JdbcTemplate(source);
            seen.put("marker", db.queryForObject("SELECT 'set up' AS marker", String.class));
            pause("ready");
            session(db, new DataSourceTransactionManager(source));
            pause("done");
        }
        seen.forEach((what, value) -> System.out.println(what + ": " + value));
    }

    static void session(JdbcTemplate db, DataSourceTransactionManager manager) {
        db.execute("drop table if exists fw_spring");
        db.execute("create table fw_spring (id int auto_increment primary key, title varchar(50) unique, copies int)");
        List<Number> ids = new ArrayList<>();
        for (String title : new String[] {"one", "zwei", "äöü"}) {
            ids.add(new SimpleJdbcInsert(db).withTableName("fw_spring").usingGeneratedKeyColumns("id")
                .executeAndReturnKey(Map.of("title", title, "copies", 1)));
        }
        seen.put("ids", ids);
        seen.put("updated", db.update("update fw_spring set copies = copies + ? where title = ?", 6, "one"));
        new TransactionTemplate(manager).execute(status -> {
            seen.put("locked", db.queryForList("select id from fw_spring where title = ? for update", "zwei"));
            db.update("insert into fw_spring (title, copies) values ('kept', 1)");
            Object savepoint = status.createSavepoint();
            db.update("insert into fw_spring (title, copies) values ('back to the savepoint', 1)");
            status.rollbackToSavepoint(savepoint);
            seen.put("sees its own", db.queryForObject("select count(*) from fw_spring", Integer.class));
            return null;
        });
        TransactionTemplate serializable = new TransactionTemplate(manager);
        serializable.setIsolationLevel(TransactionDefinition.ISOLATION_SERIALIZABLE);
        serializable.execute(status -> {
            seen.put("deleted", db.update("delete from fw_spring"));
            status.setRollbackOnly();
            return null;
        });
        seen.put("after rollback", db.queryForObject("select count(*) from fw_spring", Integer.class));
        TransactionTemplate readOnly = new TransactionTemplate(manager);
        readOnly.setReadOnly(true);
        seen.put("read only", readOnly.execute(status -> {
            status.setRollbackOnly();
            return db.queryForList("select id, title from fw_spring order by id");
        }));
        try {
            db.update("insert into fw_spring (title) values ('one')");
        } catch (DataAccessException error) {
            seen.put("error", error.getMostSpecificCause().getMessage());
        }
        List<Object> lists = new ArrayList<>();
        for (int n = 0; n < 10; n++) {
            lists.add(db.queryForList("select id, title from fw_spring where copies <= ? order by id", n));
        }
        seen.put("lists", lists);
        seen.put("epoch", db.queryForMap("SELECT FROM_UNIXTIME(0) AS epoch, COLLATION('a') AS collation"));
        seen.put("state", db.queryForMap("SELECT @@time_zone, @@sql_mode, @@collation_connection, @@autocommit"));
        db.execute("drop table fw_spring");
    }

    static void pause(String word) throws IOException {
        System.out.println(word);
        input.readLine();
    }
}
