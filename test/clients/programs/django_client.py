"""
Django's ORM: the small session that every framework program here runs. Arguments: port, user, password.

It says "ready" when its connection is set up and "done" before it closes it, and goes on each time when a line
comes in; its last line is what it saw, as JSON.
"""
import json
import sys

import django
from django.conf import settings

port, user, password = sys.argv[1:4]
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.mysql",
            "HOST": "127.0.0.1",
            "PORT": port,
            "USER": user,
            "PASSWORD": password,
            "NAME": "demo",
            "OPTIONS": {"charset": "utf8mb4", "init_command": "SET sql_mode='STRICT_TRANS_TABLES', time_zone='+02:00'"},
        }
    },
    INSTALLED_APPS=[],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_TZ=True,
)
django.setup()

from django.db import DatabaseError, connection, models, transaction  # noqa: E402


class Book(models.Model):
    title = models.CharField(max_length=50, unique=True)
    copies = models.IntegerField(default=1)
    printed = models.DateTimeField(null=True)

    class Meta:
        app_label = "library"
        db_table = "fw_django"


def pause(word):
    print(word, flush=True)
    sys.stdin.readline()


out = {}
with connection.cursor() as cursor:
    cursor.execute("SELECT 'set up' AS marker")
    out["marker"] = cursor.fetchone()
pause("ready")

with connection.cursor() as cursor:
    cursor.execute("DROP TABLE IF EXISTS fw_django")
with connection.schema_editor() as editor:
    editor.create_model(Book)
out["ids"] = [Book.objects.create(title=title).pk for title in ("one", "zwei", "äöü😀")]
out["read_back"] = [list(Book.objects.filter(pk=pk).values_list("title", "copies")[0]) for pk in out["ids"]]
out["updated"] = Book.objects.filter(title="one").update(copies=models.F("copies") + 6)
out["sum"] = Book.objects.aggregate(models.Sum("copies"))
with transaction.atomic():
    out["in_transaction"] = Book.objects.select_for_update().get(title="zwei").pk
    Book.objects.create(title="kept")
    try:
        with transaction.atomic():
            Book.objects.create(title="back to the savepoint")
            raise ValueError
    except ValueError:
        pass
    out["sees_its_own"] = Book.objects.count()
try:
    with transaction.atomic():
        Book.objects.all().delete()
        out["deleted"] = Book.objects.count()
        raise ValueError
except ValueError:
    pass
out["after_rollback"] = Book.objects.count()
out["bulk"] = len(Book.objects.bulk_create([Book(title=f"bulk {n}") for n in range(3)]))
out["got_or_created"] = [Book.objects.get_or_create(title=title)[1] for title in ("one", "new")]
try:
    Book.objects.create(title="one")
except DatabaseError as error:
    out["error"] = [type(error).__name__, *error.args]
out["lists"] = [
    [list(row) for row in Book.objects.filter(copies__lte=n).order_by("pk").values_list("pk", "title")]
    for n in range(10)
]
with connection.cursor() as cursor:
    cursor.execute("SELECT FROM_UNIXTIME(0) AS epoch, COLLATION('a') AS collation")
    out["epoch"] = cursor.fetchone()
    cursor.execute("SELECT @@time_zone, @@sql_mode, @@collation_connection, @@autocommit")
    out["state"] = cursor.fetchone()
with connection.schema_editor() as editor:
    editor.delete_model(Book)
pause("done")
connection.close()
print(json.dumps(out, ensure_ascii=False, default=str))
