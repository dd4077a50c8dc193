# Rails' ActiveRecord: the small session that every framework program here runs. Arguments: port, user, password.
#
# It says "ready" when its connection is set up and "done" before it closes it, and goes on each time when a
# line comes in; its last line is what it saw, as JSON.
require 'json'
require 'active_record'

port, user, password = ARGV
ARGV.clear

ActiveRecord::Base.establish_connection(
  adapter: 'mysql2', host: '127.0.0.1', port: port.to_i, username: user, password: password, database: 'demo',
  encoding: 'utf8mb4', pool: 1, variables: { innodb_lock_wait_timeout: 20, time_zone: '+02:00' }
)

class Book < ActiveRecord::Base
  self.table_name = 'fw_activerecord'
  has_many :pages, class_name: 'Page'
end

class Page < ActiveRecord::Base
  self.table_name = 'fw_activerecord_page'
  belongs_to :book
end

def pause(word)
  puts word
  $stdout.flush
  $stdin.gets
end

db = ActiveRecord::Base.connection
out = {}
out[:marker] = db.select_value("SELECT 'set up' AS marker")
pause('ready')

db.create_table(:fw_activerecord, force: true) do |t|
  t.string :title, limit: 50, index: { unique: true }
  t.integer :copies, default: 1
  t.timestamps
end
db.create_table(:fw_activerecord_page, force: true) { |t| t.references :book }
out[:ids] = %w[one zwei äöü😀].map { |title| Book.create!(title: title).id }
out[:read_back] = out[:ids].map { |id| Book.find(id).then { |book| [book.title, book.copies] } }
out[:updated] = Book.where(title: 'one').update_all('copies = copies + 6')
out[:sum] = Book.sum(:copies)
Book.transaction do
  out[:locked] = Book.lock.find_by(title: 'zwei').id
  Book.create!(title: 'kept').pages.create!
  Book.transaction(requires_new: true) do
    Book.create!(title: 'back to the savepoint')
    raise ActiveRecord::Rollback
  end
  out[:sees_its_own] = Book.count
end
Book.transaction(isolation: :repeatable_read) do
  Book.delete_all
  out[:deleted] = Book.count
  raise ActiveRecord::Rollback
end
out[:after_rollback] = [Book.count, Page.count]
out[:inserted_all] = Book.insert_all([{ title: 'bulk', created_at: Time.at(0), updated_at: Time.at(0) }]).length
begin
  Book.create!(title: 'one')
rescue ActiveRecord::RecordNotUnique => e
  out[:error] = [e.cause.error_number, e.cause.sql_state, e.cause.message]
end
out[:lists] = (0...10).map { |n| Book.where('copies <= ?', n).order(:id).pluck(:id, :title) }
out[:joined] = Book.includes(:pages).where(title: 'kept').map { |book| book.pages.length }
out[:epoch] = db.select_one("SELECT FROM_UNIXTIME(0) AS epoch, COLLATION('a') AS collation")
out[:state] = db.select_one('SELECT @@time_zone, @@sql_mode, @@collation_connection, @@autocommit')
db.drop_table(:fw_activerecord_page)
db.drop_table(:fw_activerecord)
pause('done')
ActiveRecord::Base.connection_pool.disconnect!
puts JSON.generate(out)
