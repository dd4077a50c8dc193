"""
SQLAlchemy's ORM: the small session that every framework program here runs. Arguments: port, user, password, and
the driver (mysqldb or pymysql).

As Python's DB-API wants it, its connections run with autocommit off, so all is one transaction after the other;
the list is read as SQLAlchemy's documentation says for reads: with the isolation level AUTOCOMMIT.

It says "ready" when its connection is set up and "done" before it closes it, and goes on each time when a line
comes in; its last line is what it saw, as JSON.
"""
import json
import sys

from sqlalchemy import Column, Integer, String, create_engine, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, declarative_base

port, user, password, driver = sys.argv[1:5]
Base = declarative_base()


class Book(Base):
    __tablename__ = "fw_sqlalchemy"
    id = Column(Integer, primary_key=True)
    title = Column(String(50), unique=True)
    copies = Column(Integer, default=1)


def pause(word):
    print(word, flush=True)
    sys.stdin.readline()


out = {}
url = f"mysql+{driver}://{user}:{password}@127.0.0.1:{port}/demo?charset=utf8mb4"
engine = create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True)
with engine.connect() as connection:
    out["marker"] = list(connection.execute(text("SELECT 'set up' AS marker")).one())
pause("ready")

Base.metadata.drop_all(engine)
Base.metadata.create_all(engine)
with Session(engine) as session:
    books = [Book(title=title) for title in ("one", "zwei", "äöü😀")]
    session.add_all(books)
    session.commit()
    out["ids"] = [book.id for book in books]
with Session(engine) as session:
    out["read_back"] = [[book.title, book.copies] for book in (session.get(Book, id) for id in out["ids"])]
    session.query(Book).filter_by(title="one").update({"copies": Book.copies + 6})
    out["locked"] = session.execute(select(Book).where(Book.title == "zwei").with_for_update()).scalar_one().id
    try:
        with session.begin_nested():
            session.add(Book(title="one"))
    except IntegrityError as error:
        out["error"] = error.orig.args
    out["sees_its_own"] = session.execute(select(func.sum(Book.copies))).scalar_one()
    session.commit()
    session.query(Book).delete()
    out["deleted"] = session.query(Book).count()
    session.rollback()
    out["after_rollback"] = session.query(Book).count()
reader = engine.execution_options(isolation_level="AUTOCOMMIT")
with Session(reader) as session:
    out["lists"] = [
        [list(row) for row in session.execute(select(Book.id, Book.title).where(Book.copies <= n).order_by(Book.id))]
        for n in range(10)
    ]
with reader.connect() as connection:
    out["epoch"] = list(connection.execute(text("SELECT FROM_UNIXTIME(0) AS epoch, COLLATION('a') AS collation")).one())
    out["state"] = list(connection.execute(text("SELECT @@time_zone, @@sql_mode, @@collation_connection, @@autocommit")).one())
with engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection, connection.begin():
    out["serializable"] = connection.execute(select(func.count()).select_from(Book)).scalar_one()
Base.metadata.drop_all(engine)
pause("done")
engine.dispose()
print(json.dumps(out, ensure_ascii=False, default=str))
