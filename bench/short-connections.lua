-- One event: connect, one query, close. sysbench's own scripts keep their connections.

sysbench.cmdline.options = {
   table_size = {"Number of rows of table sbtest1", 10000}
}

function thread_init()
   driver = sysbench.sql.driver()
end

function event()
   local connection = driver:connect()
   local id = sysbench.rand.uniform(1, sysbench.opt.table_size)
   connection:query("SELECT c FROM sbtest1 WHERE id=" .. id)
   connection:disconnect()
end
